"""Steering, and the repairs that it may help with.

    vector.py      SteeringVector: made from prompts, kept, applied     storage.py: on disk
    applying.py    a direction added to the stream     gating.py: and only where it is meant
    training.py    vectors from many pairs     latents.py: from error features, by what they do to the output
    shipped.py     the steering that a bundle brings
    generation.py  token after token behind a batch of prompts     subject.py: what can be steered

    repair.py      from a wrong place to fixes: candidates, gates, one ranking
    regions.py     how much is written anew     options.py: what it may cost
    gathering.py   candidates of all sources     prompts.py, writing.py, stopping.py: what the model writes
    candidates.py  small edits of a line: edits.py, token_edits.py, expression_edits.py
    bounds.py      how likely an edit can be at most, before it is read
    token_tree.py  branches of one text, read once
    gates.py       what costs no pass of the model     scope_pass.py: what costs two
    opinion.py     what candidates are ranked by
    user_tests.py  the user's own command as the last word

Importing anything below sets up the process for torch, which has to happen before torch is imported.
"""

from ace_analysis.model.runtime import prepare

prepare()
