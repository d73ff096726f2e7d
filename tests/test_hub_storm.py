"""The storm of tests/hub_storm.py, in its short form; run that file for a thousand faults."""

import hub_storm


def test_no_fault_loses_or_tears_a_commit(tmp_path):
    found = hub_storm.storm(36, 3, tmp_path / "storm")
    assert set(found.met) == set(hub_storm.FAULTS), "each kind at least once"
    assert found.server.starts > 5 and found.again > 3 and found.looked > 10
