"""What is said besides the answer: ``--log``, ``--log-format`` and ``--debug``, and standard error."""

import json
import sys
import time
from collections.abc import Iterable
from typing import NamedTuple


class Log(NamedTuple):
    """``file``: empty for standard error. ``form``: text or json."""

    file: str = ""
    form: str = "text"
    verbose: bool = False

    def debug(self, text: str) -> None:
        if self.verbose:
            self._write("debug", text)

    def warn(self, texts: Iterable[str]) -> None:
        for text in texts:
            self._write("warning", text)

    def complain(self, text: str) -> None:
        """Clients read the log's last error; people read standard error."""
        if self.file:
            self._write("error", text)
        sys.stderr.write(f"{text}\n" if self.file and self.form == "json" else f"rundlet-runtime: {text}\n")

    def _write(self, level: str, text: str) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self.form == "json":
            line = json.dumps({"level": level, "msg": text, "time": now}, separators=(",", ":"))
        else:
            line = f'time="{now}" level={level} msg={json.dumps(text)}'
        if not self.file:
            sys.stderr.write(f"{line}\n")
            return
        try:
            with open(self.file, "a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        except OSError:
            sys.stderr.write(f"{line}\n")
