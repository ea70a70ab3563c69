"""The model under training: a transformers Qwen3 with one key/value head, and its loss.

Shapes: B rows, T positions, N = B*T, D width, V vocabulary. Only this file imports transformers.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Qwen3Config, Qwen3ForCausalLM

from runtime import fim
from runtime.fim import Order
from runtime.spec import ModelSpec
from train.recipe import ModelConfig, Recipe
from train.samples.shards import TokenShard

ARCHITECTURE = "qwen3"
N_KV_HEADS = 1
NORM_EPS = 1e-6
INIT_STD = 0.02
LOSS_CHUNK_POSITIONS = 1024
"""Positions whose logits exist at a time: 1,024 x 16,384 floats are 64 MB."""


def build_model(config: ModelConfig, vocab_size: int, *, seed: int) -> Qwen3ForCausalLM:
    """A freshly initialised model in float32."""
    torch.manual_seed(seed)
    tokens = fim.own_tokens()
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=vocab_size,
            hidden_size=config.d_model,
            intermediate_size=config.d_ff,
            num_hidden_layers=config.n_layers,
            num_attention_heads=config.n_heads,
            num_key_value_heads=N_KV_HEADS,
            head_dim=config.head_dim,
            max_position_embeddings=config.context_tokens,
            rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
            rms_norm_eps=NORM_EPS,
            tie_word_embeddings=True,
            attention_bias=False,
            initializer_range=INIT_STD,
            use_cache=False,
            bos_token_id=None,
            eos_token_id=tokens.end_of_text_id,
            pad_token_id=tokens.pad_id,
        )
    )
    # Blocks start as the identity: their last matrices write nothing yet.
    for layer in model.model.layers:
        nn.init.zeros_(layer.self_attn.o_proj.weight)
        nn.init.zeros_(layer.mlp.down_proj.weight)
    return model


def n_params(model: nn.Module) -> int:
    """Weights, tied ones counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


def model_spec(
    recipe: Recipe, model: nn.Module, shard: TokenShard, languages: Sequence[str]
) -> ModelSpec:
    """What this model is, for everyone who meets its weights."""
    config = recipe.model
    return ModelSpec(
        name=config.name,
        architecture=ARCHITECTURE,
        n_params=n_params(model),
        n_layers=config.n_layers,
        d_model=config.d_model,
        d_ff=config.d_ff,
        n_heads=config.n_heads,
        n_kv_heads=N_KV_HEADS,
        head_dim=config.head_dim,
        vocab_size=shard.vocab_size,
        context_tokens=config.context_tokens,
        rope_theta=config.rope_theta,
        norm_eps=NORM_EPS,
        fim_order=Order.SPM,
        languages=tuple(languages),
        tokenizer_sha256=shard.tokenizer_sha256,
        corpus_id=shard.corpus_id,
        recipe=recipe.name,
        code_commit=_code_commit(),
    )


def hidden_states(model: Qwen3ForCausalLM, inputs_BT: Tensor, sample_BT: Tensor) -> Tensor:
    """Last hidden states (B, T, D); a position sees earlier positions of its own sample only."""
    n_positions = inputs_BT.shape[1]
    causal_TT = torch.ones(
        n_positions, n_positions, dtype=torch.bool, device=inputs_BT.device
    ).tril()
    same_B1TT = sample_BT[:, None, :, None] == sample_BT[:, None, None, :]
    position_ids = torch.arange(n_positions, device=inputs_BT.device)[None]
    output: Any = model.model(
        input_ids=inputs_BT,
        attention_mask={"full_attention": causal_TT & same_B1TT},
        position_ids=position_ids,
        use_cache=False,
    )
    return output.last_hidden_state  # type: ignore[no-any-return]


def mean_loss(hidden_BTD: Tensor, embedding_VD: Tensor, targets_BT: Tensor) -> Tensor:
    """Mean cross-entropy in nats over the positions that have a target (not negative)."""
    loss: Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden_BTD.flatten(0, 1), embedding_VD, targets_BT.flatten()
    )
    return loss


class _LinearCrossEntropy(torch.autograd.Function):
    """Output projection and cross-entropy in chunks; the full logits never exist.

    The gradient of a mean of cross-entropies is known as soon as the logits are, so the forward
    pass computes it chunk by chunk and the backward pass only scales it.
    """

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor) -> Tensor:
        weight = weight_VD.to(hidden_ND.dtype)
        n_targets = (targets_N >= 0).sum().clamp(min=1)
        grad_hidden = torch.empty_like(hidden_ND)
        grad_weight = torch.zeros_like(weight_VD, dtype=torch.float32)
        loss = torch.zeros((), dtype=torch.float32, device=hidden_ND.device)
        for start in range(0, hidden_ND.shape[0], LOSS_CHUNK_POSITIONS):
            rows = slice(start, start + LOSS_CHUNK_POSITIONS)
            hidden = hidden_ND[rows]
            chunk_loss, grad_logits = _chunk(hidden @ weight.T, targets_N[rows], n_targets)
            loss += chunk_loss
            grad_hidden[rows] = grad_logits @ weight
            grad_weight += grad_logits.T @ hidden
        ctx.save_for_backward(grad_hidden, grad_weight)
        return loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * grad.to(grad_hidden.dtype), grad_weight * grad, None


def _chunk(logits_CV: Tensor, targets_C: Tensor, n_targets: Tensor) -> tuple[Tensor, Tensor]:
    """Summed loss over n_targets, and its gradient to the logits in their own dtype."""
    has_target = targets_C >= 0
    targets = targets_C.clamp(min=0)[:, None]
    logits = logits_CV.float()
    log_total = torch.logsumexp(logits, dim=1, keepdim=True)
    picked = logits.gather(1, targets)
    weight = (has_target / n_targets)[:, None]
    loss = ((log_total - picked) * weight).sum()
    probabilities = (logits - log_total).exp()
    gradient = (probabilities * weight).to(logits_CV.dtype)
    gradient.scatter_add_(1, targets, -weight.to(gradient.dtype))
    return loss, gradient


def compile_hot_path() -> None:
    """Let torch.compile fuse the element-wise part of the loss."""
    global _chunk
    _chunk = torch.compile(_chunk, dynamic=False)


def _code_commit() -> str:
    """Commit of this source tree; ``unknown`` in an installed copy, ``...-dirty`` with edits."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return "unknown"
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty"]
    try:
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return finished.stdout.strip() if finished.returncode == 0 else "unknown"
