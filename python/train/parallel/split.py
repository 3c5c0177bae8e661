"""What a process holds of a model: its blocks, its heads and hidden widths, its experts, and its shards of the rest.

The cuts of a parameter, in this order, each of what the one before left:

    pipeline  the blocks of a stage; the embedding goes with the first, norm and head with the last
    tensor    heads of query, key, value and of the columns of `out`; hidden width of gate, up and of the columns of
              `down`: a block computes a summand of its output, which is added up twice a block (arXiv 1909.08053)
    expert    experts, which tokens are sent to and come back from
    shards    rows of what is left, by FSDP2: put together before a block computes, freed behind it

What stands before and behind the blocks (embedding, norm, head) is not cut by tensor: there every process of a tensor
group computes a part of the positions, and FSDP cuts these weights by the tensor group too.
"""

from functools import partial
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from curate.errors import ConfigError
from train.config import Shape
from train.layers import Linear, RMSNorm
from train.model import Attention, Block, FeedForward, Model, tensors_of
from train.moe import MixtureOfExperts
from train.parallel.collectives import all_parts, all_sum, copied, exchanged, reduced
from train.parallel.mesh import Group, Mesh


class Cut(NamedTuple):
    """A dimension cut into as many parts as the group has processes, each but the last of equal size."""

    dim: int
    group: Group

    def range(self, size: int) -> tuple[int, int]:
        """Begin and size of the part of this process, of a dimension of `size`."""
        step = -(-size // self.group.size)
        begin = min(self.group.rank * step, size)
        return begin, min(step, size - begin)


class Part(NamedTuple):
    """What a process holds of a tensor of the model. copies: how many processes hold the same. kept: whether this is
    the one of them that writes it."""

    whole: tuple[int, ...]
    cuts: tuple[Cut, ...]
    copies: int
    kept: bool

    def box(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """(start, size)."""
        start, size = [0] * len(self.whole), list(self.whole)
        for cut in self.cuts:
            begin, size[cut.dim] = cut.range(size[cut.dim])
            start[cut.dim] += begin
        return tuple(start), tuple(size)

    def joined(self) -> list[tuple[Cut, int]]:
        """Cuts that divide matrices, and what they cut: a stack of experts is cut along its first dimension between
        matrices."""
        size, found = list(self.whole), []
        for cut in self.cuts:
            if len(self.whole) == 2 or cut.dim > 0:
                found.append((cut, size[cut.dim]))
            size[cut.dim] = cut.range(size[cut.dim])[1]
        return found

    def gather(self, part: Tensor) -> Tensor:
        """A tensor of this part with whole matrices."""
        for cut, size in reversed(self.joined()):
            step = -(-size // cut.group.size)
            missing = step - part.shape[cut.dim]
            padded = F.pad(part, (0, 0) * (part.dim() - 1 - cut.dim) + (0, missing)) if missing else part
            part = torch.cat(all_parts(padded, cut.group), cut.dim).narrow(cut.dim, 0, size)
        return part

    def take(self, whole: Tensor) -> Tensor:
        """The part of a tensor with whole matrices."""
        for cut, size in self.joined():
            whole = whole.narrow(cut.dim, *cut.range(size))
        return whole


def check(shape: Shape, mesh: Mesh) -> None:
    """Raise ConfigError where the grid does not fit the model."""
    tensor, expert, stages = (mesh.sizes[axis] for axis in ("tensor", "expert", "pipeline"))
    for name, size in (("kv_heads", shape.kv_heads), ("ffn_width", shape.ffn_width)):
        if size % tensor:
            raise ConfigError(f"parallel.tensor: {tensor} does not divide model.{name}, which is {size}")
    parts = mesh.sizes["context"] * 2 if mesh.sizes["context"] > 1 else 1
    if shape.sequence_length % (parts * tensor):
        raise ConfigError(
            f"sequence_length: {shape.sequence_length} positions cannot be shared by context {mesh.sizes['context']} "
            f"and tensor {tensor} alike; a multiple of {parts * tensor} can"
        )
    if expert > 1 and (not shape.experts or shape.experts % expert):
        raise ConfigError(f"parallel.expert: {expert} does not divide model.experts, which is {shape.experts}")
    if stages > shape.layers:
        raise ConfigError(f"parallel.pipeline: {stages} stages of {shape.layers} blocks; each needs one at least")


def split(model: Model, root: nn.Module, mesh: Mesh) -> dict[str, Part]:
    """Leave of the model what this process holds; returns the parts by the parameters' names.

    root: a module that holds the model and whose forward is all that is computed with it.
    """
    check(model.shape, mesh)
    whole = {name: tuple(one.shape) for name, one in tensors_of(model).items()}
    keep_stage(model, mesh)
    cuts: dict[str, list[Cut]] = {name: [] for name in tensors_of(model)}
    for name, module in model.named_modules():
        if mesh.tensor.size > 1:
            _split_tensor(name, module, mesh.tensor, cuts)
        if isinstance(module, MixtureOfExperts):
            _split_experts(name, module, mesh, cuts)
    shared = {name: _shared_by(name, model, mesh) for name in cuts}
    _shard(model, root, mesh)
    buffers = {name for name, _ in model.named_buffers()}
    parts = {}
    for name, some in cuts.items():
        sharded = shared[name].size > 1 and name not in buffers
        if sharded:
            some.append(Cut(0, shared[name]))
        twice = name == "embedding.weight" and model.shape.tied and mesh.ends.size > 1
        parts[name] = _part(whole[name], tuple(some), mesh, twice)
    return parts


def _part(whole: tuple[int, ...], cuts: tuple[Cut, ...], mesh: Mesh, twice: bool) -> Part:
    """Of the processes of a stage as many hold the same as no cut tells apart; the first of them keeps it.

    twice: it is held by the first and the last stage, of which the first keeps it.
    """
    copies = mesh.world // mesh.sizes["pipeline"] * (2 if twice else 1)
    for cut in cuts:
        copies //= cut.group.size
    others = [mesh.at[axis] for axis in ("data", "expert", "context", "tensor") if not _tells(axis, cuts, mesh)]
    return Part(whole, cuts, copies, not any(others) and (mesh.first or not twice))


def _tells(axis: str, cuts: tuple[Cut, ...], mesh: Mesh) -> bool:
    """Whether a cut gives unlike parts to processes that differ along the axis."""
    if mesh.sizes[axis] == 1:
        return False
    return any(set(mesh.axes[axis].ranks) <= set(cut.group.ranks) for cut in cuts)


def keep_stage(model: Model, mesh: Mesh) -> None:
    """Blocks of this stage alone: as many in each as divide, one more in the first ones where they do not."""
    stages, at = mesh.sizes["pipeline"], mesh.at["pipeline"]
    few, more = divmod(model.shape.layers, stages)
    first = at * few + min(at, more)
    mine = {str(n) for n in range(first, first + few + (at < more))}
    for name in list(model.blocks):
        if name not in mine:
            del model.blocks[name]
    if not mesh.first:
        model.position_embedding = None
        if not (mesh.last and model.shape.tied):
            del model.embedding
    if not mesh.last:
        del model.norm, model.head


# -- tensor ----------------------------------------------------------------------------------------------------


def _split_tensor(name: str, module: nn.Module, group: Group, cuts: dict[str, list[Cut]]) -> None:
    rows: tuple[Linear, ...]
    if isinstance(module, Attention):
        rows, column = (module.query, module.key, module.value), module.out
        for norm in (module.query_norm, module.key_norm):
            if norm is not None:  # every process computes with its heads alone
                norm.forward = partial(_norm_of_heads, norm, group)  # type: ignore[method-assign]
    elif isinstance(module, FeedForward):
        rows, column = tuple(one for one in (module.gate, module.up) if one is not None), module.down
    else:
        return
    places = {id(one): f"{name}.{key}" for key, one in module.named_children()}
    for layer in rows:
        _keep(layer, places[id(layer)], Cut(0, group), cuts)
    _keep(column, places[id(column)], Cut(1, group), cuts)
    column.forward = partial(_summed_linear, column, group)  # type: ignore[method-assign]
    module.register_forward_pre_hook(partial(_copy_input, group))


def _keep(layer: Any, name: str, cut: Cut, cuts: dict[str, list[Cut]]) -> None:
    """Cut the weight of a layer, and its bias where rows are cut."""
    for key, one in layer.named_parameters():
        if key == "weight" or cut.dim == 0:
            part = one.detach().narrow(cut.dim, *cut.range(one.shape[cut.dim])).clone()
            setattr(layer, key, nn.Parameter(part))
            cuts[f"{name}.{key}"].append(cut)


def _copy_input(group: Group, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return copied(inputs[0], group), *inputs[1:]


def _summed_linear(layer: Linear, group: Group, x: Tensor) -> Tensor:
    y = reduced(F.linear(x, layer.weight.to(x.dtype)), group)
    return y if layer.bias is None else y + layer.bias.to(x.dtype)


def _norm_of_heads(norm: RMSNorm, group: Group, x: Tensor) -> Tensor:
    return F.rms_norm(x, norm.weight.shape, copied(norm.weight, group).to(x.dtype), norm.eps)


# -- experts ---------------------------------------------------------------------------------------------------


def _split_experts(name: str, mixture: MixtureOfExperts, mesh: Mesh, cuts: dict[str, list[Cut]]) -> None:
    for key, dim in (("gate", 1), ("up", 1), ("down", 2)):
        for cut in (Cut(dim, mesh.tensor), Cut(0, mesh.expert)):
            if cut.group.size > 1:
                _keep(getattr(mixture, key), f"{name}.{key}", cut, cuts)
    mixture.compute = partial(_far, mixture.compute, mesh)  # type: ignore[method-assign]
    mixture.counted = partial(all_sum, group=mesh.tokens)  # type: ignore[method-assign]


def _far(compute: Any, mesh: Mesh, x_MC: Tensor, rows_E: Tensor) -> Tensor:
    """Rows through experts that other processes hold: sent there, computed, sent back, in the order they came."""
    x_MC, group = copied(x_MC, mesh.tensor), mesh.expert
    if group.size == 1:
        result: Tensor = reduced(compute(x_MC, rows_E), mesh.tensor)
        return result
    # rows_GE[g, e]: rows that process g sends to our e-th expert.
    rows_GE = torch.stack([part.view(group.size, -1)[group.rank] for part in all_parts(rows_E, group)])
    sent = rows_E.view(group.size, -1).sum(1).tolist()
    received = rows_GE.sum(1).tolist()
    came = exchanged(x_MC, sent, received, group)
    # They came by process, then by expert; the product wants them by expert.
    n_experts = rows_GE.shape[1]
    expert = torch.arange(n_experts, device=came.device).repeat(group.size).repeat_interleave(rows_GE.flatten())
    order = expert.argsort(stable=True)
    back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    rows_E, n_rows = rows_GE.sum(0), len(came)
    came = came[order]
    if not n_rows:  # the kernel has no gradient of nothing: a row of zeros, which is left out again
        came, rows_E[-1] = F.pad(came, (0, 0, 0, 1)), 1
    done = compute(came, rows_E)[:n_rows][back]
    return reduced(exchanged(done, received, sent, group), mesh.tensor)


# -- shards ----------------------------------------------------------------------------------------------------


def _shared_by(name: str, model: Model, mesh: Mesh) -> Group:
    """The processes that FSDP cuts a parameter for."""
    if not name.startswith("blocks."):
        return mesh.outside
    stack = dict(model.named_parameters()).get(name)
    return mesh.experts if stack is not None and stack.dim() == 3 else mesh.tokens


def _shard(model: Model, root: nn.Module, mesh: Mesh) -> None:
    """FSDP2, by the blocks and what is around them; sums of gradients, which are divided by tokens already."""
    if mesh.outside.size == 1:
        return
    ignored: set[nn.Parameter] = set()
    device, casts = model.device.type, model.dtype == torch.bfloat16 and not model.shape.experts
    # Products are in bf16 anyway: half the bytes are sent. The router's are in fp32.
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if casts else MixedPrecisionPolicy()
    for block in model.blocks.values():
        assert isinstance(block, Block)
        if isinstance(block.ffn, MixtureOfExperts):
            stacks = [block.ffn.gate, block.ffn.up, block.ffn.down]
            _fully([*stacks], mesh.experts, device, policy, ignored)
        _fully([block], mesh.tokens, device, policy, ignored)
    _fully([root], mesh.outside, device, MixedPrecisionPolicy(), ignored)


def _fully(
    modules: list[nn.Module], group: Group, device: str, policy: MixedPrecisionPolicy, ignored: set[nn.Parameter]
) -> None:
    """Shard what these modules hold over a group; in a group of one it stays as it is, for the modules around too."""
    if group.size == 1:
        ignored.update(p for module in modules for p in module.parameters())
        return
    grid = DeviceMesh.from_group(_handle(group), device)
    for module in fully_shard(modules, mesh=grid, mp_policy=policy, ignored_params=ignored):
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)


def _handle(group: Group) -> dist.ProcessGroup:
    assert group.handle is not None
    return group.handle
