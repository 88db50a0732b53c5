"""A short soak: cancelled prompts harm neither other prompts nor the server."""

from __future__ import annotations

import pytest

from benchmarks.soak import complaints, make_jobs, run_jobs
from magcache.server.launch import NEWEST, Server


@pytest.mark.parametrize("server", [NEWEST], indirect=True)
def test_prompts_end_as_they_are_meant_to(server: Server):
    read = len(server.log.read_text())
    jobs = make_jobs(12, seed=5)
    ends = list(run_jobs(server, jobs))
    assert [end.how == "deleted" for end in ends] == [job.delete for job in jobs]
    interrupted = [job for job, end in zip(jobs, ends, strict=True) if end.how == "interrupted"]
    assert interrupted and all(job.interrupt_at for job in interrupted)
    assert sum(end.how == "finished" for end in ends) >= 5
    assert complaints(server.log.read_text()[read:]) == []


def test_jobs_are_the_same_but_for_our_nodes():
    for with_it, without in zip(make_jobs(40, seed=1), make_jobs(40, seed=1, magcache=False), strict=True):
        ours = {name for name in with_it.workflow if name in ("MagCache", "MagCacheAuto", "MagCacheCalibration")}
        assert with_it.workflow.keys() - without.workflow.keys() == ours
        assert (with_it.delete, with_it.interrupt_at) == (without.delete, without.interrupt_at)
        sampled, plain = (job.workflow["sampler"]["inputs"] for job in (with_it, without))
        assert {**sampled, "model": None} == {**plain, "model": None}
