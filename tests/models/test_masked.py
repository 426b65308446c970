import pytest
import timm
import torch
from lightly.models.modules import MaskedVisionTransformerDecoderTIMM, MaskedVisionTransformerTIMM
from lightly.models.utils import get_at_index, set_at_index

from vitlab.models.backbones import unfuse_attention
from vitlab.models.masked import MaskedDecoder, VisibleEncoder, is_maskable, last_of, take

B, N, K = 3, 16, 5  # images, patches, visible patches


@pytest.fixture(autouse=True)
def exact():
    """One thread, and twice the digits: two ways to the same numbers differ by nothing else."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_num_threads(threads)


def vit(**kwargs):
    settings = {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 32, "in_chans": 3} | kwargs
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0, **settings)
    torch.nn.init.normal_(model.pos_embed)  # so that a token at another's position shows
    return model


def masks():
    order = torch.rand(B, N).argsort(dim=1)
    return order[:, :K], order[:, K:]


def gradients(output, module):
    """Return all gradients of a loss that weighs each value differently."""
    module.zero_grad()
    (output * torch.arange(output.numel()).view_as(output).double().sin()).sum().backward()
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def assert_equal_gradients(found, wanted):
    assert found.keys() == wanted.keys() and len(wanted) > 5
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-7, atol=1e-9, msg=name)


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"in_chans": 1},
        {"reg_tokens": 2},
        {"no_embed_class": True},
        {"reg_tokens": 2, "no_embed_class": True},
        {"class_token": False, "global_pool": "avg"},
        {"dynamic_img_size": True},
        {"pre_norm": True},  # and no bias in the patches' embedding
        {"embed_norm_layer": "layernorm"},
    ],
)
def test_embedding_the_visible_patches_equals_embedding_all(kwargs):
    """The reference is lightly's own encoder, which embeds the whole image by a convolution."""
    model = vit(**kwargs)
    plain, ours = (
        kind(vit=model, pos_embed_initialization="skip") for kind in (MaskedVisionTransformerTIMM, VisibleEncoder)
    )
    images, (visible, _) = torch.randn(B, kwargs.get("in_chans", 3), 32, 32), masks()
    p = model.num_prefix_tokens
    keep = torch.cat([torch.arange(p).expand(B, p), visible + p], dim=1)
    wanted = plain.encode(images, idx_keep=keep)
    wanted_gradients = gradients(wanted, model)
    found = ours.encode(images, idx_keep=keep)
    torch.testing.assert_close(found, wanted)
    assert_equal_gradients(gradients(found, model), wanted_gradients)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(("depth", "prefix"), [(1, 1), (3, 1), (1, 0), (2, 4)])
def test_decoding_the_masked_patches_equals_decoding_all(depth, prefix, fused):
    """The reference is lightly's own decoder, on tokens in the image's order."""
    settings = {"num_patches": N, "embed_dim": 16, "depth": depth, "num_heads": 4, "num_prefix_tokens": prefix}
    ours, plain = MaskedDecoder(**settings), MaskedVisionTransformerDecoderTIMM(**settings)
    torch.nn.init.normal_(ours.pos_embed)
    plain.load_state_dict(ours.state_dict(), strict=True)
    if not fused:
        unfuse_attention(ours)
    embedded, (visible, masked) = torch.randn(B, prefix + K, 16), masks()
    keep = torch.cat([torch.arange(prefix).expand(B, prefix), visible + prefix], dim=1)
    tokens = set_at_index(plain.mask_token.repeat(B, prefix + N, 1), keep, embedded)
    wanted = get_at_index(plain(tokens), masked + prefix)
    found = ours(embedded, visible, masked)
    torch.testing.assert_close(found, wanted)
    assert_equal_gradients(gradients(found, ours), gradients(wanted, plain))


def test_the_last_tokens_of_a_block_see_all():
    block = MaskedDecoder(num_patches=N, embed_dim=16, depth=1, num_heads=2).blocks[0]
    tokens = torch.randn(B, 9, 16)
    torch.testing.assert_close(last_of(block, tokens, 4), block(tokens)[:, -4:])
    other = tokens.clone()
    other[:, 0] = torch.randn(B, 16)
    assert ((last_of(block, tokens, 4) - last_of(block, other, 4)).abs().amax(dim=(1, 2)) > 1e-5).all()


def test_rows_are_taken_for_each_image_by_itself():
    rows = torch.arange(24).view(2, 4, 3)
    taken = take(rows, torch.tensor([[3, 0], [1, 1]]))
    assert taken.tolist() == [[[9, 10, 11], [0, 1, 2]], [[15, 16, 17], [15, 16, 17]]]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("vit_tiny_patch16_224", True), ("vit_tiny_r_s16_p8_224", False), ("deit_tiny_distilled_patch16_224", False)],
)
def test_what_can_be_masked(name, expected):
    assert is_maskable(timm.create_model(name, num_classes=0)) is expected
