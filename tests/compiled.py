"""A training step that is one graph has the numbers of the eager one."""

import warnings

import torch


def assert_one_graph(eager, step, batch, advance):
    """The compiled step gives the numbers of the eager one, also when schedules and streams have moved.

    Returns the last gradients.
    """
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    for _ in range(3):  # schedules move without a new graph
        advance()
        torch.manual_seed(1)
        gradients, out = eager(batch())
        torch.manual_seed(1)
        with warnings.catch_warnings(), torch._dynamo.config.patch(trace_autograd_ops=True):
            warnings.simplefilter("ignore")  # of the compiler, on what it does not trace
            theirs, ours = compiled(batch())
        for name, value in out.items():
            torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-5, check_dtype=False)
        for a, b in zip(theirs, gradients, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    return gradients
