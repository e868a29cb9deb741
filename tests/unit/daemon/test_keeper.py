"""The keeper of an ordinary user's namespaces holds them whatever its clients do."""

import errno
import os
from pathlib import Path
from unittest import mock

import pytest

from rundlet.daemon.rootless.keeper import Keeper


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ECONNABORTED])
def test_a_client_that_cannot_be_let_in_ends_nothing(tmp_path: Path, number: int) -> None:
    keeper = Keeper(str(tmp_path))
    with keeper.listener as listener:
        keeper.listener = mock.Mock(accept=mock.Mock(side_effect=OSError(number, os.strerror(number))))
        keeper.listener.fileno.return_value = listener.fileno()
        keeper._readable(listener.fileno())
        keeper.listener.accept.assert_called_once_with()
    assert keeper.connections == {}
    keeper.close()
