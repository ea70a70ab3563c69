"""Guards the models: published sizes, samples kept apart, and weights that transformers reads.

If this fails, a run of a published recipe trains another model than it says, a completion is
learned from a file that the user will not have open, or an exported folder answers nonsense.
"""

import resource
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from runtime.spec import ModelSpec
from tests.train import tiny_corpus
from train.errors import RecipeError
from train.model import architectures as models
from train.model.loss import mean_loss
from train.recipe import ModelConfig
from train.recipe_file import load_recipe

VOCAB = 300
CONFIGS = {
    "qwen3": ModelConfig(
        name="q", architecture="qwen3", n_layers=2, d_model=64, d_ff=96, n_heads=4, head_dim=32,
        context_tokens=64,
    ),
    "gpt_bigcode": ModelConfig(
        name="s", architecture="gpt_bigcode", n_layers=2, d_model=64, d_ff=256, n_heads=4,
        head_dim=16, context_tokens=64, norm_eps=1e-5,
    ),
    "starcoder2": ModelConfig(
        name="s2", architecture="starcoder2", n_layers=2, d_model=64, d_ff=128, n_heads=4,
        head_dim=16, n_kv_heads=2, context_tokens=64, norm_eps=1e-5,
    ),
    "starcoder2 with a window": ModelConfig(
        name="s2w", architecture="starcoder2", n_layers=2, d_model=64, d_ff=128, n_heads=4,
        head_dim=16, n_kv_heads=2, context_tokens=64, norm_eps=1e-5, sliding_window_tokens=7,
    ),
}  # fmt: skip
pytestmark = pytest.mark.usefixtures("one_thread")
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())

SAMPLES = ((1, 40, 23), (17, 3, 1, 43), (64,))
"""Lengths of the samples in three rows of 64."""


def random_model(config: ModelConfig) -> PreTrainedModel:
    """Every weight random, so that none can be ignored unseen."""
    model = models.build_model(config, VOCAB, seed=3)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.normal_(centre, 0.2, generator=generator)
    return model.eval()


def rows() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs_BT = torch.randint(0, VOCAB, (len(SAMPLES), 64), generator=generator)
    sample_BT = torch.stack(
        [
            torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
            for lengths in SAMPLES
        ]
    )
    return inputs_BT, sample_BT.to(torch.int32)


def loss_of(model: PreTrainedModel) -> Tensor:
    inputs_BT, sample_BT = rows()
    hidden_BTD = models.hidden_states(model, inputs_BT, sample_BT)
    return mean_loss(hidden_BTD[:, :-1], models.output_weight(model), inputs_BT[:, 1:])


# What Hugging Face shows for the released weights of starcoderbase-1b, starcoderbase (starcoder has
# the same) and starcoder2-*. Of starcoderbase-3b and -7b only the shapes were found, and file sizes
# that agree (6.09 GB in bfloat16; 7.53 billion with a second copy of the embedding). StarCoder2 15B
# has an output matrix of its own.
PUBLISHED = {
    "starcoderbase-1b": 1_137_207_296,
    "starcoderbase-3b": 3_043_311_104,
    "starcoderbase-7b": 7_327_263_232,
    "starcoderbase-15b": 15_517_456_384,
    "starcoder-python": 15_517_456_384,
    "starcoder2-3b": 3_030_371_328,
    "starcoder2-7b": 7_173_923_840,
    "starcoder2-15b": 15_957_889_024,
}


def counted_by_hand(config: ModelConfig, vocab_size: int) -> int:
    """Weights of a StarCoder or StarCoder2, summed from its shapes."""
    d_model, kv_width = config.d_model, config.n_kv_heads * config.head_dim
    attention = 2 * d_model * (d_model + 1) + 2 * kv_width * (d_model + 1)
    mlp = 2 * d_model * config.d_ff + config.d_ff + d_model
    block = attention + mlp + 2 * 2 * d_model
    learned_positions = config.context_tokens if config.architecture == "gpt_bigcode" else 0
    n_tables = vocab_size * (1 if config.tied_embeddings else 2) + learned_positions
    return n_tables * d_model + config.n_layers * block + 2 * d_model


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_recipes_have_the_published_number_of_weights(name: str) -> None:
    recipe = load_recipe(name)
    before_kib, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    model = models.build_model(recipe.model, recipe.tokenizer.vocab_size, seed=1, device="meta")
    assert models.n_params(model) == PUBLISHED[name]
    assert counted_by_hand(recipe.model, recipe.tokenizer.vocab_size) == PUBLISHED[name]
    assert all(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
    # The smallest of them has 4.5 GB of weights.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 200_000
    assert time.process_time() - started < 10


def test_own_recipes_have_the_size_that_they_say() -> None:
    for name, low, high in (
        ("nano", 1e6, 3e6),
        ("laptop", 4e6, 20e6),
        ("starling-9m", 8e6, 10e6),
        ("default", 50e6, 75e6),
    ):
        recipe = load_recipe(name)
        model = models.build_model(recipe.model, recipe.tokenizer.vocab_size, seed=1, device="meta")
        assert low <= models.n_params(model) <= high, name
        assert model.config.num_key_value_heads == 1


@each_config
def test_start_weights_are_those_of_the_recipe(config: ModelConfig) -> None:
    config = replace(config, init_std=0.05, n_layers=8)
    model = models.build_model(config, VOCAB, seed=1)
    assert models.output_weight(model) is model.lm_head.weight
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            ones = "weight" in name
            assert torch.equal(parameter, torch.full_like(parameter, 1.0 if ones else 0.0)), name
            continue
        expected = 0.05
        if name.endswith(("o_proj.weight", "down_proj.weight")) and config.name == "q":
            expected = 0.0
        elif name.endswith("c_proj.weight") and config.architecture == "gpt_bigcode":
            expected = 0.05 / 4
        assert parameter.std().item() == pytest.approx(expected, rel=0.1), name
    assert all(buffer.isfinite().all() for buffer in model.buffers())


@each_config
def test_start_weights_follow_from_the_seed(config: ModelConfig) -> None:
    one, same, other = (models.build_model(config, VOCAB, seed=seed) for seed in (4, 4, 5))
    for name, parameter in same.named_parameters():
        assert torch.equal(parameter, one.get_parameter(name)), name
    assert not torch.equal(models.output_weight(one), models.output_weight(other))


@each_config
def test_a_packed_row_gives_what_transformers_gives_for_each_sample_alone(
    config: ModelConfig, tmp_path: Path
) -> None:
    """Through an exported folder, so that its names and numbers are checked as well."""
    model = random_model(config)
    save_file(dict(model.named_parameters()), tmp_path / "model.safetensors", {"format": "pt"})
    model.config.save_pretrained(tmp_path)
    exported = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager").eval()
    assert type(exported) is type(model)
    inputs_BT, sample_BT = rows()
    with torch.no_grad():
        hidden_BTD = models.hidden_states(model, inputs_BT, sample_BT)
        logits_BTV = hidden_BTD @ models.output_weight(model).T
        for row, lengths in enumerate(SAMPLES):
            start = 0
            for n in lengths:
                alone_TV = exported(inputs_BT[row : row + 1, start : start + n]).logits[0]
                packed_TV = logits_BTV[row, start : start + n]
                # Float32 sums in another order; logits here have a size of about 20.
                torch.testing.assert_close(packed_TV, alone_TV, atol=2e-3, rtol=1e-4)
                start += n


def test_a_window_ends_where_it_says() -> None:
    """With one block, a position sees the last 7 inputs and no others."""
    config = replace(CONFIGS["starcoder2 with a window"], n_layers=1)
    model = random_model(config)
    inputs_1T = torch.arange(20)[None]
    sample_1T = torch.zeros(1, 20, dtype=torch.int32)
    changed = [inputs_1T.clone(), inputs_1T.clone()]
    changed[0][0, 19 - 7] = 99
    changed[1][0, 19 - 6] = 99
    with torch.no_grad():
        last, outside, inside = (
            models.hidden_states(model, x_1T, sample_1T)[0, -1] for x_1T in (inputs_1T, *changed)
        )
    assert torch.equal(last, outside)
    assert not torch.allclose(last, inside, atol=1e-3)


@each_config
def test_checkpointed_activations_give_the_same_gradients(config: ModelConfig) -> None:
    gradients = []
    for checkpointed in (False, True):
        model = random_model(config).train()
        if checkpointed:
            models.checkpoint_activations(model)
        computed: list[nn.Module] = []
        for block in models.blocks(model):
            block.mlp.register_forward_pre_hook(lambda mlp, _, done=computed: done.append(mlp))
        loss_of(model).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
        assert len(computed) == config.n_layers * (2 if checkpointed else 1)
    for name, gradient in gradients[0].items():
        assert gradient is not None and gradient.abs().sum() > 0, name
        torch.testing.assert_close(gradient, gradients[1][name], msg=name)


@each_config
def test_training_lowers_the_loss(config: ModelConfig) -> None:
    model = models.build_model(config, VOCAB, seed=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = loss_of(model)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    # A fresh model knows nothing: the loss begins at log(300) = 5.70.
    assert losses[0] == pytest.approx(5.70, abs=0.15)
    assert losses[-1] < losses[0] - 0.5


@each_config
def test_the_compiled_model_is_one_graph(config: ModelConfig) -> None:
    model = random_model(config)
    compiled = torch.compile(models.hidden_states, fullgraph=True, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(
            compiled(model, *rows()), models.hidden_states(model, *rows()), atol=1e-5, rtol=1e-5
        )
    torch._dynamo.reset()


@pytest.mark.parametrize("name", ["gpt_bigcode", "starcoder2"])
def test_dropout_acts_while_training_only(name: str) -> None:
    model = random_model(replace(CONFIGS[name], dropout=0.1))
    with torch.no_grad():
        still = [models.hidden_states(model, *rows()) for _ in range(2)]
        model.train()
        moved = [models.hidden_states(model, *rows()) for _ in range(2)]
    assert torch.equal(*still)
    assert not torch.allclose(*moved, atol=1e-2)


def test_qwen3_refuses_dropout() -> None:
    with pytest.raises(RecipeError, match="remove it"):
        replace(CONFIGS["qwen3"], dropout=0.1)


def test_untied_embeddings_are_two_matrices() -> None:
    model = random_model(replace(CONFIGS["starcoder2"], tied_embeddings=False))
    output = models.output_weight(model)
    assert output is not model.get_input_embeddings().weight
    loss_of(model).backward()
    assert output.grad is not None and output.grad.any()


@pytest.mark.parametrize(
    ("name", "llama_cpp_name", "rope_theta"),
    [("qwen3", "qwen3", 5e4), ("gpt_bigcode", "starcoder", 1e4), ("starcoder2", "starcoder2", 5e4)],
)
def test_spec_says_what_the_model_is(
    name: str, llama_cpp_name: str, rope_theta: float, tmp_path: Path
) -> None:
    _, shard = tiny_corpus.tokenizer_and_shard(tmp_path)
    tiny = load_recipe("tiny")
    recipe = replace(
        tiny,
        model=replace(CONFIGS[name], rope_theta=5e4),
        fit=replace(tiny.fit, row_tokens=64),
    )
    model = models.build_model(recipe.model, shard.vocab_size, seed=1)
    spec = models.model_spec(recipe, model, shard, ("Python",))
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert (spec.architecture, spec.rope_theta) == (llama_cpp_name, rope_theta)
    assert (spec.n_kv_heads, spec.norm_eps) == (recipe.model.n_kv_heads, recipe.model.norm_eps)
    assert spec.n_params == models.n_params(model)
    assert spec.vocab_size == models.output_weight(model).shape[0]
    assert spec.code_commit != "unknown"
