"""What only ADD knows: archives that are unpacked, downloads, git."""

from rundlet.builder.dockerfile import ast
from rundlet.builder.pieces import Piece
from rundlet.builder.report import Step
from rundlet.builder.transfers import Place


class AddExtras:
    """One per build."""

    async def pieces(self, instruction: ast.Add, place: Place, step: Step) -> list[Piece] | None:
        """See transfers.Extras."""
        del instruction, place, step
        return None
