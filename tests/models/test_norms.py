"""Batch norms over several processes: statistics, gradients and activations are those of one process."""

import copy
import sys

import pytest
import timm
import torch
from torch import distributed, multiprocessing, nn

from vitlab.models.norms import CpuSyncBatchNorm, synchronise

# Different on each process, far from 0, uneven: what averages over processes would get wrong.
PARTS = [torch.randn(size, 3, 4, 4, generator=torch.Generator().manual_seed(size)) * size + 10 for size in (2, 5)]


def network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.BatchNorm1d(16))
    model.append(nn.Linear(16, 1))
    return model


def figures(model, images):
    """Return the outputs' squares summed, every gradient and every buffer after a step."""
    loss = model(images).square().sum()
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    return loss.detach(), gradients, [buffer for buffer in model.buffers()]


def work(rank, folder, device):
    kind = torch.device(device).type
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    model = network()
    synchronise(model, torch.device(device))
    loss, gradients, buffers = figures(model.to(device), PARTS[rank].to(device))
    for part in (loss, *gradients):
        distributed.all_reduce(part)
    if rank == 0:
        torch.save((loss, gradients, buffers), f"{folder}/two-{kind}.pt")
    distributed.destroy_process_group()


def compare(folder, device):
    loss, gradients, buffers = torch.load(next(folder.glob("two-*.pt")), map_location="cpu")
    own_loss, own_gradients, own_buffers = figures(network(), torch.cat(PARTS))
    torch.testing.assert_close(loss, own_loss, rtol=1e-4, atol=0)
    for found, expected in zip([*gradients, *buffers], [*own_gradients, *own_buffers], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_two_processes_with_batches_of_two_and_five_are_one_with_seven(tmp_path, nursery):
    code = "import sys; from tests.models.test_norms import work; work(int(sys.argv[1]), sys.argv[2], 'cpu')"
    running = [nursery.popen([sys.executable, "-c", code, str(rank), str(tmp_path)]) for rank in (0, 1)]
    assert [process.wait(timeout=300) for process in running] == [0, 0]
    compare(tmp_path, "cpu")


@pytest.mark.gpu
def test_two_processes_on_one_gpu_are_one_on_the_cpu(tmp_path):
    """Over gloo, which lets two processes share a device; torch's kernels do the rest."""
    multiprocessing.spawn(work, (str(tmp_path), "cuda:0"), nprocs=2)
    compare(tmp_path, "cuda:0")


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite0"])
def test_a_network_stays_what_it_is(name):
    """Activations inside of norms are kept, torch's own conversion drops them; names and weights are the same."""
    model = timm.create_model(name, num_classes=3).eval()
    changed = copy.deepcopy(model)
    synchronise(changed, torch.device("cpu"))
    norms = [layer for layer in changed.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    assert norms and all(isinstance(layer, CpuSyncBatchNorm) and not layer.training for layer in norms)
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(changed(images), model(images))
    assert list(changed.state_dict()) == list(model.state_dict())
    synchronise(changed, torch.device("cpu"))  # twice does nothing
    assert [layer for layer in changed.modules() if isinstance(layer, CpuSyncBatchNorm)] == norms
    on_gpus = copy.deepcopy(model)
    for _ in range(2):
        synchronise(on_gpus, torch.device("cuda"))
        torch.testing.assert_close(on_gpus(images), model(images))
    assert sum(isinstance(layer, nn.SyncBatchNorm) for layer in on_gpus.modules()) == len(norms)
    if name == "efficientnet_lite0":
        torchs = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(model))
        assert not torch.allclose(torchs(images), model(images))
