"""The engine: one model and one bundle, and what can be asked of them.

    scanning.py   Engine: a document in, one report per scope out
    tasks.py      ScanOptions: what is asked for, and what there is to do
    explaining.py why a place scores as it does, or what the model expects there
    fixing.py     what could stand in a place, checked by the scan's scores and by the user's tests
    editing.py    edits of the model: previewed, written to the ledger, taken back
    whole.py      the whole model beside the blocks that a scan holds
    places.py     which place of a document is meant; from places of a prompt to those of a document
    attributions.py  from node scores to an explanation
    prompts.py    from a scope to what the model is run on: windows, batches
    scores.py     a scope's scores as they are kept, independent of where the scope stands
    cache.py      kept scores, in memory and on disk
    reports.py    from scores to findings, in the document's coordinates

What OpenMP reads once has to be set before torch is imported, so it is set here, first.
"""

from ace_analysis.model.runtime import prepare

prepare()

from ace_analysis.engine.fixing import FixOptions  # noqa: E402
from ace_analysis.engine.scanning import Engine  # noqa: E402
from ace_analysis.engine.tasks import ExplainOptions, ScanOptions  # noqa: E402

__all__ = ["Engine", "ExplainOptions", "FixOptions", "ScanOptions"]
