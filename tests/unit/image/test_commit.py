"""How a container's configuration becomes an image's."""

from rundlet.image.commit import image_defaults, merge_configs
from rundlet.oci.config import ContainerConfig, Healthcheck


def test_the_containers_values_fill_what_is_not_given() -> None:
    wanted = ContainerConfig(env=["A=1"], labels={"x": "new"}, user="joe")
    own = ContainerConfig(
        env=["A=0", "B=2"],
        labels={"x": "old", "y": "kept"},
        user="root",
        working_dir="/w",
        exposed_ports={"80/tcp": {}},
        volumes={"/v": {}},
        entrypoint=["/e"],
        cmd=["c"],
    )
    merged = merge_configs(wanted, own)
    assert merged.env == ["A=1", "B=2"]
    assert merged.labels == {"x": "new", "y": "kept"}
    assert (merged.user, merged.working_dir) == ("joe", "/w")
    assert (merged.exposed_ports, merged.volumes) == ({"80/tcp": {}}, {"/v": {}})
    assert (merged.entrypoint, merged.cmd) == (["/e"], ["c"])


def test_a_new_entrypoint_has_no_use_for_the_old_command() -> None:
    merged = merge_configs(ContainerConfig(entrypoint=["/new"]), ContainerConfig(entrypoint=["/old"], cmd=["c"]))
    assert (merged.entrypoint, merged.cmd) == (["/new"], None)


def test_the_containers_time_to_stop_and_shell_are_not_taken() -> None:
    own = ContainerConfig(stop_timeout=3, shell=["/bin/sh"], stop_signal="SIGINT")
    assert merge_configs(ContainerConfig(user="joe"), own) == ContainerConfig(user="joe", env=[], stop_signal="SIGINT")
    assert merge_configs(own, own) == ContainerConfig(stop_timeout=3, shell=["/bin/sh"], stop_signal="SIGINT", env=[])


def test_a_health_check_is_merged_by_what_it_says() -> None:
    own = ContainerConfig(healthcheck=Healthcheck(test=["CMD", "old"], interval=5, retries=2))
    merged = merge_configs(ContainerConfig(healthcheck=Healthcheck(interval=9)), own)
    assert merged.healthcheck == Healthcheck(test=["CMD", "old"], interval=9, retries=2)


def test_what_is_this_containers_own_stays_behind() -> None:
    own = ContainerConfig(hostname="abc", tty=True, open_stdin=True, image="busybox", user="joe", mac_address="x")
    assert image_defaults(own) == ContainerConfig(user="joe")
