"""Writes the model folder that sconce serves, from a PyTorch module, in one call.

    import sconce_export
    sconce_export.export(module, example_inputs, "models/mine")

Everything else here is how that is done, and may change.
"""

from ._error import ExportError
from ._export import export
from ._report import Exported

__all__ = ["ExportError", "Exported", "export"]
