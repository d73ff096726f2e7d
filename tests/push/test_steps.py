"""Steps of a push on their own: what stops it, and in how many words."""

from types import SimpleNamespace

import pytest

from pinfold.audit.finding import WARNING, Finding
from pinfold.common.errors import UserError
from pinfold.push import prepare, steps
from pinfold.verify.matrix import Row

RELEASES = ["4.48.3", "4.57.6", "5.24.0"]


@pytest.mark.parametrize(
    ("failures", "said"),
    [
        (["", "", "D08 b"], "D08 b (transformers 5.24.0)"),
        (["D08 b", "D08 b", "D08 b"], "D08 b (transformers 4.48.3, 4.57.6, 5.24.0)"),
        (["D06 a", "", "D08 b"], "D08 b (transformers 5.24.0)\n  D06 a (transformers 4.48.3)"),
        (["D06 a", "D08 b", "D06 a"], "D08 b (transformers 4.57.6)\n  D06 a (transformers 4.48.3, 5.24.0)"),
    ],
)
def test_every_cause_is_said_with_its_releases(monkeypatch, failures, said):
    """Releases fail for reasons of their own; one at a time, a user would push once for each."""
    rows = [Row(version, {}, failure, 1.0) for version, failure in zip(RELEASES, failures, strict=True)]
    monkeypatch.setattr(steps.matrix, "run_matrix", lambda *arguments: rows)
    push = SimpleNamespace(hub_home=None, work=None)
    staged, expected = SimpleNamespace(code_from=None, weights=[]), SimpleNamespace(request={})
    with pytest.raises(UserError) as caught:
        steps.Push._load_in_releases(push, staged, expected, RELEASES)
    assert str(caught.value) == said


@pytest.mark.parametrize(("releases", "stops"), [(RELEASES, True), (["4.57.6", "5.24.0"], False), (["4.52.4"], True)])
def test_a_warning_stops_a_push_that_would_fail_for_it(monkeypatch, capsys, releases, stops):
    """Before 4.53 an unregistered class is saved without its code, which verification finds minutes later."""
    finding = Finding("P28", "modeling_x.py:3: XModel is not registered.", "modeling_x.py", 3, severity=WARNING)
    monkeypatch.setattr(prepare, "audit", lambda *arguments, **more: [finding])
    monkeypatch.setattr(prepare, "read_folder", lambda path: None)
    staged = SimpleNamespace(code_from=None, tokenizer_only=False, directory=None, folder=SimpleNamespace(path=None))
    push = SimpleNamespace(human=SimpleNamespace(accepted={}), inputs=SimpleNamespace(checkpoint=None), work=None)
    monkeypatch.setattr(prepare, "probe_asked", lambda *arguments: [])
    if stops:
        with pytest.raises(UserError, match=r"the audit found 1 error: P28 .* XModel is not"):
            steps.Push.audit(push, staged, steps.Releases(releases, []))
    else:
        assert steps.Push.audit(push, staged, steps.Releases(releases, [])) == [finding]
        assert "XModel is not registered" in capsys.readouterr().out
