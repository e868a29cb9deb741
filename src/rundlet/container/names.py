"""Names for containers that were given none: an adjective and a cooper's word, as in ``amber_stave``."""

import re
import secrets
from collections.abc import Container

from rundlet.container.errors import InvalidNameError

_VALID = re.compile(r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")

_ADJECTIVES = (
    "able agile amber ample ancient apt arctic ashen astute autumn balmy bold brave breezy bright brisk bronze "
    "busy calm candid careful cheerful chestnut civil clear clever coastal copper coral cosy crisp curious daring "
    "deft dusky eager early earnest easy elder elegant fair famous fearless festive fine firm fluent frosty "
    "gallant gentle gilded glad golden graceful grand handy happy hardy hazel hearty honest humble ideal ivory "
    "jolly jovial joyful keen kind lasting level light lively loyal lucid lucky lunar mellow merry mild misty "
    "modest mossy neat nimble noble northern oaken open patient placid polite proud prudent quick quiet rapid "
    "ready regal robust rosy ruby rustic sage sandy serene sharp silver simple sincere sleek smart smooth snowy "
    "solar solid spry stately steady sturdy subtle sunny swift tawny tender tidy tranquil trusty upbeat valiant "
    "velvet vivid warm wary whole wild willing wise witty young zesty "
).split()

_NOUNS = (
    "adze anvil arbor auger awl barge barrel basin beam bellows bilge binnacle birch bobbin bosun bow brace "
    "bramble brazier brook bung buoy burdock butt canal cask cedar chine chisel cistern clove coaming cogwheel "
    "cooper copse cord cove crate creek crozier cutter dock dory dowel drawbar drift estuary felloe ferry firkin "
    "flagon flume ford forge funnel galley gauge gimlet glade grove hammer harbor hatch hawser head heath hoop "
    "hogshead hopper jetty jib joiner juniper keel kettle kiln ladle lantern larch ledger lighter linden loom "
    "mallet maple marsh mast meadow mill mooring oak oar orchard paddle pail pier pike pipe pitcher plane pond "
    "pulley pump puncheon quay quern rail reed rivet rundlet rudder sail saw scupper shaper shed sieve skiff "
    "sloop sluice spigot spile spindle spoke spring stave still strake tackle tankard tap tarn thicket tide "
    "tierce tiller timber trough tun valve vane vat vessel wharf wheel wherry willow windlass "
).split()


def validate(name: str) -> str:
    """The name without its leading slash. Raises :class:`InvalidNameError`."""
    if not _VALID.match(name):
        raise InvalidNameError(name)
    return name.removeprefix("/")


def generate(taken: Container[str]) -> str:
    """A free name; after some tries a digit is added, so it ends also on a machine with very many containers."""
    attempt = 0
    while True:
        name = f"{secrets.choice(_ADJECTIVES)}_{secrets.choice(_NOUNS)}"
        if attempt > 4:
            name += str(secrets.randbelow(10 ** (attempt - 4)))
        if name not in taken:
            return name
        attempt += 1
