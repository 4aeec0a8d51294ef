"""What the loop is given: a data set and the order of its rows."""

from dataclasses import FrozenInstanceError

import pytest
import torch

from sks4.training import Batches


def rows_of(net, batches, training):
    """Return the values that each batch of a loader begins with."""
    loader = net.get_iterator(batches, training=training)
    return [inputs["u"][:, 0, 0].tolist() for inputs, _ in loader]


@pytest.mark.parametrize("training", [True, False])
def test_batches_are_read_in_the_order_of_their_sampler(make_net, make_batches, training):
    dataset = make_batches(7).dataset
    order = [[6, 0], [3], [5, 1, 2, 4]]
    found = rows_of(make_net().initialize(), Batches(dataset, order), training)
    assert found == [dataset.u[rows, 0, 0].tolist() for rows in order]


def test_sampler_is_asked_anew_for_each_epoch(make_net, make_batches):
    class Turns:
        n_calls = 0

        def __len__(self):
            return 1

        def __iter__(self):
            self.n_calls += 1
            return iter([[self.n_calls]])

    batches = Batches(make_batches().dataset, Turns())
    seen = []
    net = make_net(max_epochs=3, batch_transform=lambda b, _: seen.append(b[0]["u"][0]) or b)
    net.fit(batches)
    assert torch.equal(torch.stack(seen), batches.dataset.u[1:4])


def test_batches_cannot_be_changed(make_batches):
    batches = make_batches()
    with pytest.raises(FrozenInstanceError, match="dataset"):
        batches.dataset = None
