"""The files that a container's log is in."""

from rundlet.api.container_config import LogConfig
from rundlet.engine.logdrivers.options import JSON_FILE, LOCAL, cached


def written_path(config: LogConfig, directory: str, container_id: str) -> str:
    """Where ``inspect`` says the log is (Docker tells it for json-file alone); "" otherwise."""
    return f"{directory}/{container_id}-json.log" if config.type in ("", JSON_FILE) else ""


def readable_path(config: LogConfig, directory: str, container_id: str) -> str:
    """The file that ``logs`` reads; "" where the driver keeps nothing here."""
    driver = config.type or JSON_FILE
    if driver == JSON_FILE:
        return f"{directory}/{container_id}-json.log"
    if driver == LOCAL:
        return f"{directory}/local-logs/container.log"
    return f"{directory}/container-cached.log" if cached(driver, config.config or {}) else ""
