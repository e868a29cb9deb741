"""Base images: those that are here, or pulled with the client's credentials."""

from collections.abc import Mapping

from rundlet.api.images import AuthConfig
from rundlet.builder.report import Reporter, Step
from rundlet.engine.context import Context
from rundlet.errors import ForbiddenError, NoSuchImageError
from rundlet.image import variants
from rundlet.image.errors import PlatformMismatchError
from rundlet.image.pull import Puller
from rundlet.image.records import Image
from rundlet.oci.platform import Platform
from rundlet.oci.reference import InvalidReferenceError, Reference
from rundlet.registry import Credentials


class NotSignedError(ForbiddenError):
    """With content trust an image is what was signed; a name alone may be anything."""

    reason = "not-signed"

    def __init__(self, reference: str) -> None:
        super().__init__(
            f"content trust: {reference} was not found to be signed (in FROM without variables, or --from)"
        )


class BaseImageService:
    """One per build. ``used`` are the images it has given out, by the names they were asked for."""

    def __init__(
        self,
        context: Context,
        puller: Puller,
        auth: Mapping[str, AuthConfig],
        reporter: Reporter,
        *,
        signed_only: bool = False,
    ) -> None:
        self._context = context
        self._signed_only = signed_only
        self._puller = puller
        self._auth = auth
        self._reporter = reporter
        self.used: dict[str, Image] = {}

    async def get(self, reference: str, platform: Platform, *, given: bool, pull: bool, step: Step) -> Image:
        """The image; from its registry with ``pull``, when it is not here, or is here for another platform.

        One of a platform that is not this machine's takes no name away: what a build stands on changes nothing about
        what the name means to ``run``.

        Raises NoSuchImageError, InvalidReferenceError, NotSignedError, and what pulling raises.
        """
        if self._signed_only and Reference.parse(reference).digest is None:
            raise NotSignedError(reference)
        image = await self._get(reference, platform, given=given, pull=pull, step=step)
        self.used[reference] = image
        return image

    async def _get(self, reference: str, platform: Platform, *, given: bool, pull: bool, step: Step) -> Image:
        if not pull:
            try:
                image = variants.choose(self._context.images, reference, str(platform) if given else "")
                await self._context.admission.admit(reference, image, self._credentials_for(reference))
                return image
            except (NoSuchImageError, PlatformMismatchError):
                pass
        name = Reference.parse(reference)
        results = await self._puller.pull(
            name,
            platform=str(platform) if given else "",
            named=not given or is_native(platform),
            credentials=self._credentials_for(reference),
            progress=lambda progress: self._reporter.progress(step, progress),
        )
        self._context.events.publish("image", "pull", name.familiar, {"name": name.familiar_name})
        return results[0].image

    def _credentials_for(self, reference: str) -> Credentials | None:
        """None for an ID, which no registry has to be asked about."""
        try:
            return credentials_for(self._auth, Reference.parse(reference))
        except InvalidReferenceError:
            return None


def is_native(platform: Platform) -> bool:
    """Whether names here may come to mean an image of ``platform``."""
    return Platform.host().matches(platform)


def credentials_for(auth: Mapping[str, AuthConfig], name: Reference) -> Credentials | None:
    """The client's credentials for the registry of ``name``."""
    hosts = [name.domain]
    if name.domain == "docker.io":
        hosts += ["https://index.docker.io/v1/", "index.docker.io"]
    for host in hosts:
        for key, found in auth.items():
            if key == host or key.removeprefix("https://").removeprefix("http://").rstrip("/") == host:
                return Credentials(found.username, found.password, found.identitytoken, found.registrytoken)
    return None
