import copy
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from safetensors.torch import load_file

from benchmarks.small import convert, emoji_art, emoji_model, muon
from benchmarks.small.gradients import GraphedLearn, Task, learn
from benchmarks.small.train_emoji import Schedule
from magcache.demo import world

CPU = torch.device("cpu")


@pytest.fixture
def pictures():
    """Slopes with a soft edge, (4, 3, 32, 64) in [-1, 1]."""
    y, x = np.mgrid[0:32, 0:64].astype(np.float32) / 32
    edge = np.tanh(6 * (x - y))
    slopes = [np.stack([a * x - 0.7, 0.5 - a * y, b * edge]) for a, b in ((0.2, 0.9), (0.5, 0.1), (0.7, -0.6), (0.1, 0.4))]
    return np.clip(np.stack(slopes), -1, 1).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    return emoji_model.load()


def test_torch_encodes_as_numpy_does(pictures):
    encoded = emoji_art.Encoder(world.cells(), CPU)(torch.from_numpy(pictures))
    assert np.allclose(encoded.numpy(), world.to_latent(pictures), atol=1e-5)


def test_painting_is_seeded_and_shows_the_subject_on_its_ground():
    art = torch.zeros(len(world.SUBJECTS), 4, 128, 128, dtype=torch.uint8)
    art[:, 0, 32:96, 32:96] = art[:, 3, 32:96, 32:96] = 255
    painter = emoji_art.Painter(art, CPU)
    first, again = (emoji_art.paint_any(painter, 5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    painted, which = first
    assert painted.shape == (5, 3, world.SIDE, world.SIDE)
    assert painted.abs().max() <= 1
    assert torch.allclose(painted[:, :, 64, 64], torch.tensor([1.0, -1, -1]), atol=0.02)
    grounds = torch.tensor(list(world.GROUNDS.values()))[which % len(world.GROUNDS)] * 2 - 1
    assert torch.allclose(painted[:, :, 2, 2], grounds, atol=0.15)


def test_measured_cells_are_a_code():
    art = torch.randint(0, 256, (len(world.SUBJECTS), 4, 128, 128), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    code, held = emoji_art.measure_cells(emoji_art.Painter(art, CPU), pictures=20)
    assert np.allclose(code.basis @ code.basis.T, np.eye(world.LATENT_CHANNELS), atol=1e-4)
    assert code.scale[3:].tolist() == [code.scale[3]] * 13
    assert 0.5 < held <= 1


def test_the_checkpoint_is_small_and_has_the_shapes_that_diffusers_builds(model):
    assert emoji_model.CHECKPOINT.stat().st_size <= 10_000_000
    weights = load_file(emoji_model.CHECKPOINT)
    built = convert.flux_to_original(emoji_model.build().state_dict())
    assert {name: weight.shape for name, weight in weights.items()} == {name: weight.shape for name, weight in built.items()}
    assert len(list(emoji_model.EMOJI.blocks(model))) == emoji_model.DOUBLE_BLOCKS + emoji_model.SINGLE_BLOCKS


def test_a_sample_has_its_ground(model):
    noise = torch.randn(2, world.LATENT_CHANNELS, 32, 32, generator=torch.Generator().manual_seed(0))
    latents = emoji_model.sample(model, ["a fox on night", "a fox on mint"], noise, steps=4)
    assert latents.shape == noise.shape
    assert torch.isfinite(latents).all()
    corners = (world.to_pictures(latents.numpy())[:, :, :16, :16].mean((2, 3)) + 1) / 2
    for corner, ground in zip(corners, ("night", "mint"), strict=True):
        distances = {name: np.abs(corner - colour).sum() for name, colour in world.GROUNDS.items()}
        assert min(distances, key=distances.__getitem__) == ground


def test_saving_and_loading_gives_the_model_back(tmp_path):
    torch.manual_seed(0)
    small = emoji_model.build(double=1, single=2)
    path = tmp_path / "small.safetensors"
    emoji_model.save(small, path, steps=3)
    again = emoji_model.load(path).state_dict()
    assert all(torch.equal(weight.half().float(), again[name]) for name, weight in small.state_dict().items())


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 8, 24), (2, 24, 8)])
def test_orthogonal_updates(shape):
    batch = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(muon.orthogonalise(batch))
    assert values.min() > 0.5
    assert values.max() < 1.4


def test_muon_does_what_torch_does():
    torch.manual_seed(0)
    ours = [torch.randn(size).requires_grad_() for size in ((8, 16), (8, 16), (16, 4))]
    theirs = [matrix.detach().clone().requires_grad_() for matrix in ours]
    reference = torch.optim.Muon(theirs, lr=0.1, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    optimiser = muon.Muon(ours, weight_decay=0.01)
    for _ in range(3):
        for our, their in zip(ours, theirs, strict=True):
            our.grad = torch.randn(our.shape)
            their.grad = our.grad.clone()
        optimiser.step(0.1)
        reference.step()
    for our, their in zip(ours, theirs, strict=True):
        assert torch.allclose(our, their, atol=0.02)


def test_the_rate_falls_as_a_cosine_and_ends_sooner_if_time_runs_out():
    schedule = Schedule(1000, math.inf)
    assert schedule.factor(0) == pytest.approx(0.01)
    assert schedule.factor(500) == pytest.approx(0.51)
    assert schedule.factor(1000) == pytest.approx(0.02)

    slow = Schedule(1000, seconds=100)
    slow.check(100, 20)
    slow.check(400, 80)
    assert slow.cut_short
    assert slow.steps == 495
    assert slow.factor(400) == pytest.approx(schedule.factor(400))
    assert slow.factor(495) == pytest.approx(0.02)

    quick = Schedule(1000, seconds=100)
    quick.check(450, 40)
    quick.check(900, 80)
    assert not quick.cut_short


@pytest.fixture
def tasks():
    """Two batches of noisy latents."""
    rng = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 2, 2, world.LATENT_CHANNELS, 8, 8, generator=rng)
    text = emoji_model.encode(["a fox on mint", ""])
    return [Task(noisy, torch.rand(2, generator=rng), **text, velocity=velocity) for noisy, velocity in latents]


def test_learning_leaves_gradients_of_bounded_size_everywhere(tasks):
    torch.manual_seed(0)
    small = emoji_model.build(double=1, single=1)
    loss = learn(small, tasks[0])
    assert loss.item() == pytest.approx(tasks[0].velocity.square().mean().item())
    gradients = [weight.grad for weight in small.parameters()]
    assert torch.linalg.vector_norm(torch.cat([gradient.flatten() for gradient in gradients])) <= 1.001


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
def test_a_replayed_graph_takes_the_same_gradients(tasks):
    torch.manual_seed(0)
    small, graphed = emoji_model.build(double=1, single=1).cuda(), GraphedLearn()
    other = copy.deepcopy(small)
    for task in (Task(*(part.cuda() for part in task)) for task in tasks):
        assert torch.allclose(graphed(small, task), learn(other, task), rtol=1e-3)
        for ours, theirs in zip(small.parameters(), other.parameters(), strict=True):
            assert torch.allclose(ours.grad, theirs.grad, rtol=1e-2, atol=1e-4)
