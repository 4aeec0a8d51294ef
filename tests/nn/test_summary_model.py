"""Features of all blocks and of a bank, and the model that reads their summary."""

import pytest
import torch

from sks4.nn import AllFeatures, FilterBank, Recall, S4Backbone, Summary, SummaryModel


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).double()


@pytest.fixture
def features():
    torch.manual_seed(0)
    backbone = S4Backbone(2, d_model=4, n_layers=2, d_state=4, patch_size=5)
    return AllFeatures(backbone, FilterBank(10, n_filters=6)).double()


@pytest.fixture(params=[None, [0, 3]])
def model(features, request):
    n = features.n_features
    pool = Summary(noise(3, n), 10 + noise(n))
    recall = None if request.param is None else Recall(torch.tensor(request.param), d_state=8)
    n_read = pool.n_outputs + (0 if recall is None else recall.n_outputs)
    return SummaryModel(features, pool, torch.nn.Linear(n_read, 7).double(), recall)


def test_features_are_those_of_each_block_and_of_the_filters(features):
    backbone, u = features.backbone, noise(1, 20, 2)
    patches = u.reshape(1, 4, 10)
    x, lengths = features(u)
    assert lengths is None
    first, _ = backbone.blocks[0](backbone.projection(patches))
    torch.testing.assert_close(x[..., :4], first)
    torch.testing.assert_close(x[..., 4:8], backbone(u)[0])
    torch.testing.assert_close(x[..., 8:], features.bank(patches)[0])


def test_features_of_padding_depend_on_nothing_behind_the_end(features):
    u, lengths = noise(3, 22, 2), torch.tensor([22, 7, 1])
    x, steps = features(u, lengths)
    assert steps.tolist() == [5, 2, 1]
    for row, n, n_steps in zip(range(3), lengths, steps, strict=True):
        alone, _ = features(u[row : row + 1, :n])
        torch.testing.assert_close(x[row : row + 1, :n_steps], alone)


@pytest.mark.parametrize("pieces", [[3, 1, 18], [22], [5, 5, 5, 7], [1] * 22])
def test_pieces_give_the_output_for_all_that_was_seen(model, pieces):
    u, state, n_seen = noise(2, 22, 2), None, 0
    for piece in u.split(pieces, 1):
        y, state = model.advance(piece, state)
        n_seen += piece.shape[1]
        torch.testing.assert_close(y, model(u[:, :n_seen]), rtol=1e-6, atol=1e-8)


def test_without_blocks_the_features_are_those_of_the_filters():
    torch.manual_seed(0)
    backbone, bank = S4Backbone(2, d_model=1, n_layers=0, patch_size=5), FilterBank(10, 6)
    features, u = AllFeatures(backbone, bank).double(), noise(2, 22, 2)
    patches = torch.nn.functional.pad(u, (0, 0, 0, 3)).reshape(2, 5, 10)
    torch.testing.assert_close(features(u)[0], features.bank(patches)[0])
    pool = Summary(noise(3, 6), 10 + noise(6))
    model = SummaryModel(features, pool, torch.nn.Linear(pool.n_outputs, 7).double())
    y, _ = model.advance(u[:, :9], None)
    torch.testing.assert_close(y, model(u[:, :9]), rtol=1e-6, atol=1e-8)


def test_output_is_linear_in_the_summary_and_in_what_is_recalled(model):
    u, lengths = noise(3, 22, 2), torch.tensor([22, 7, 1])
    described = model.pool(*model.features(u, lengths))
    if model.recall is not None:
        _, steps, state = model.features.with_state(u, lengths)
        patches = model.backbone.patches(u, lengths)
        assert (steps == torch.tensor([5, 2, 1])).all()
        torch.testing.assert_close(state, model.features.bank(patches, None, steps)[1])
        described = torch.cat([described, state[:, [0, 3]].flatten(1)], 1)
    torch.testing.assert_close(model.describe(u, lengths), described)
    torch.testing.assert_close(model(u, lengths), model.linear(described))
    plain = SummaryModel(model.features, model.pool, torch.nn.Identity(), model.recall)
    torch.testing.assert_close(plain(u, lengths), described)
