"""Go's text/template over JSON-like data (dict, list, str, int, float, bool, None), for ``--format`` and log tags.

``compile_template(text).render(data)``. The layers, each importing only those before it: errors, lexer, nodes, parser,
values (Go's view of data), printf, functions, evaluator. See: pkg.go.dev/text/template.
"""

from rundlet.util.template.errors import TemplateError
from rundlet.util.template.evaluator import Template, compile_template

__all__ = ["Template", "TemplateError", "compile_template"]
