"""Names and shapes of the released code's parameters, as its modules define them, for models of any size."""

MSG_TRANSFORMER = {  # embed_dim, depths, heads
    "msg_transformer_tiny": (64, (2, 4, 12, 4), (2, 4, 8, 16)),
    "msg_transformer_small": (96, (2, 4, 12, 4), (3, 6, 12, 24)),
    "msg_transformer_base": (96, (2, 4, 28, 4), (3, 6, 12, 24)),
    "msg_transformer_v1_tiny": (96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "msg_transformer_v1_small": (96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "msg_transformer_v1_base": (128, (2, 2, 18, 2), (4, 8, 16, 32)),
}
SG_FORMER = {  # embed_dims, depths
    "sgformer_small": ((64, 128, 256, 512), (2, 4, 16, 1)),
    "sgformer_medium": ((64, 128, 256, 512), (2, 6, 28, 2)),
    "sgformer_base": ((96, 192, 384, 768), (4, 6, 24, 2)),
}
MERGES = {8: (196, 56, 28), 4: (49, 14, 7), 2: (2, 1)}


def variant(name):
    """Shapes by official name of a released model at 224 x 224."""
    if name in SG_FORMER:
        return sg_former(*SG_FORMER[name])
    return msg_transformer(*MSG_TRANSFORMER[name], overlapping="v1" not in name)


def msg_transformer(dim, depths, heads, overlapping=True, classes=1000, window=7, region=4):
    patch = 7 if overlapping else 4
    shapes = {"msg_tokens": (1, region * region, 1, dim)}
    shapes |= {"patch_embed.proj.weight": (dim, 3, patch, patch), "patch_embed.proj.bias": (dim,)}
    shapes |= norm("patch_embed.norm", dim)
    for stage, (depth, head) in enumerate(zip(depths, heads, strict=True)):
        for index in range(depth):
            block = f"layers.{stage}.blocks.{index}"
            shapes |= norm(f"{block}.norm1", dim)
            shapes[f"{block}.attn.relative_position_bias_table"] = ((2 * window - 1) ** 2, head)
            shapes[f"{block}.attn.rel_pos_msg"] = (head, 2, 1, 1)
            shapes |= linear(f"{block}.attn.qkv", dim, 3 * dim) | linear(f"{block}.attn.proj", dim, dim)
            shapes |= norm(f"{block}.norm2", dim)
            shapes |= linear(f"{block}.mlp.fc1", dim, 4 * dim) | linear(f"{block}.mlp.fc2", 4 * dim, dim)
        if stage < len(depths) - 1:
            merging = f"layers.{stage}.downsample"
            if overlapping:
                shapes[f"{merging}.reduction.weight"] = (2 * dim, dim, 3, 3)
                shapes[f"{merging}.reduction.bias"] = (2 * dim,)
                shapes |= norm(f"{merging}.norm", 2 * dim)
            else:
                shapes[f"{merging}.reduction.weight"] = (2 * dim, 4 * dim)
                shapes |= norm(f"{merging}.norm", 4 * dim)
            dim *= 2
    return shapes | norm("norm", dim) | linear("head", dim, classes)


def sg_former(dims, depths, reductions=(8, 4, 2, 1), classes=1000, size=224):
    shapes = {"pos_embed": (1, (size // 4) ** 2, dims[0])}
    for index, channels in ((0, 3), (2, dims[0]), (4, dims[0])):
        shapes[f"patch_embed1.conv.{index}.c.weight"] = (dims[0], channels, 3, 3)
        shapes |= norm(f"patch_embed1.conv.{index}.bn", dims[0])
    shapes |= norm("patch_embed1.norm", dims[0])
    for stage, (dim, depth, ratio) in enumerate(zip(dims, depths, reductions, strict=True), start=1):
        if stage > 1:
            kernels = ((dim, dims[stage - 2], 1, 1), (dim, 1, 3, 3), (dim, dim, 1, 1))
            for index, kernel in enumerate(kernels, start=1):
                shapes[f"patch_embed{stage}.conv{index}.c.weight"] = kernel
                shapes |= norm(f"patch_embed{stage}.conv{index}.bn", dim)
        for index in range(depth):
            block = f"block{stage}.{index}"
            shapes |= norm(f"{block}.norm1", dim) | attention(f"{block}.attn", dim, ratio, index)
            shapes |= linear(f"{block}.attn.lepe_linear", dim, dim) | depthwise(f"{block}.attn.lepe_conv", dim)
            shapes |= linear(f"{block}.attn.proj", dim, dim) | norm(f"{block}.norm2", dim)
            shapes |= linear(f"{block}.mlp.fc1", dim, 4 * dim) | linear(f"{block}.mlp.fc2", 4 * dim, dim)
            shapes |= depthwise(f"{block}.mlp.dwconv.dwconv", 4 * dim)
        shapes |= norm(f"norm{stage}", dim)
    return shapes | linear("head", dims[-1], classes)


def attention(name, dim, ratio, index):
    if ratio == 1:
        return linear(f"{name}.q", dim, dim) | linear(f"{name}.kv", dim, 2 * dim)
    if index % 2 == 0:
        shapes = {f"{name}.sr.weight": (dim, dim, ratio, ratio), f"{name}.sr.bias": (dim,)}
        shapes |= norm(f"{name}.norm", dim)
        for branch in (1, 2):
            shapes |= linear(f"{name}.q{branch}", dim, dim // 2) | linear(f"{name}.kv{branch}", dim, dim)
        return shapes
    shapes = linear(f"{name}.q", dim, dim)
    shapes |= linear(f"{name}.kv1", dim, dim) | linear(f"{name}.kv2", dim, dim)
    for number, group in enumerate(MERGES[ratio], start=1):
        shapes |= linear(f"{name}.f{number}", group, 1)
    return shapes


def norm(name, dim):
    return {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}


def linear(name, inputs, outputs):
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def depthwise(name, dim):
    return {f"{name}.weight": (dim, 1, 3, 3), f"{name}.bias": (dim,)}
