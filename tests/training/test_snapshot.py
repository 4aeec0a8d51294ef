"""A net is brought back to an earlier moment, as often as needed."""

import torch

from sks4.training._snapshot import Snapshot, copied, generator_from


def moment(net):
    return copied(net.module_.state_dict()), copied(net.optimizer_.state_dict())


def flat(state):
    """Return all tensors in nested dicts and lists, in order."""
    if isinstance(state, torch.Tensor):
        return [state]
    parts = state.values() if isinstance(state, dict) else state
    return [x for part in parts if isinstance(part, (dict, list, torch.Tensor)) for x in flat(part)]


def assert_same(first, second):
    for a, b in zip(flat(list(first)), flat(list(second)), strict=True):
        assert torch.equal(a, b)


def test_snapshot_brings_everything_back_twice(make_net, make_batches):
    net = make_net(max_epochs=1).fit(make_batches())
    expected, snapshot = moment(net), Snapshot.of(net)
    state = net.generator_.get_state()
    for _ in range(2):  # training after the first one must not change the snapshot
        net.partial_fit(make_batches())
        net.generator_.manual_seed(7)
        assert len(net.history) == 2
        snapshot.restore(net)
        assert_same(moment(net), expected)
        assert torch.equal(net.generator_.get_state(), state)
        assert len(net.history) == 1


def test_training_from_a_snapshot_repeats_itself(make_net, make_batches):
    net = make_net(max_epochs=1).fit(make_batches())
    snapshot = Snapshot.of(net)
    first = moment(net.partial_fit(make_batches()))
    snapshot.restore(net)
    assert_same(moment(net.partial_fit(make_batches())), first)


def test_copy_shares_no_tensor():
    state = {"a": [torch.ones(2), {"b": torch.zeros(1)}], "n": 3}
    copy = copied(state)
    state["a"][0] += 1
    state["a"][1]["b"] += 1
    assert copy["a"][0].tolist() == [1, 1]
    assert copy["a"][1]["b"].tolist() == [0]
    assert copy["n"] == 3


def test_generator_continues_from_its_state():
    generator = torch.Generator().manual_seed(3)
    torch.rand(5, generator=generator)
    other = generator_from(generator.get_state().numpy().tobytes())
    assert torch.equal(torch.rand(4, generator=other), torch.rand(4, generator=generator))
