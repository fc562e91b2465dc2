#!/usr/bin/env python3
"""Writes tiny random checkpoints and the logits that Hugging Face transformers computes for them.

Weights are used exactly as stored (bf16, fp16 or f32), widened to float32, and all arithmetic is
float32 on a CPU with eager attention. Per model one logits.safetensors holds, for each prompt i:
  prompt_i     I64 [tokens]              token ids
  positions_i  I64 [positions]           the positions whose logits are kept
  logits_i     F32 [positions, vocab]    logits at those positions
  logits_bf16_kv_i                       the same with keys and values rounded to bf16, as a bf16 KV
                                         cache holds them
Families also have rope_length_i I64 [1], the prompt length that dynamic rope goes by (frequencies
are frozen at it, as a server must do whose keys stay in a cache), and a greedy continuation:
decode_prompt, decode_tokens I64 and decode_logits, decode_logits_bf16_kv, those that each token was
the likeliest of.

`make_goldens.py tiny` remakes the first checkpoints and their logits, `make_goldens.py families`
those of all other families and rope types, `make_goldens.py demo MODEL_DIR` the logits of the demo
model. `--check` computes again and compares instead of writing.

Qwen (the first) and InternLM 1 and 2 are no part of transformers: their reference is `Reference`
below, written from their papers and model cards, and held against a native model wherever the two
compute the same.
"""

import argparse
import contextlib
import copy
import functools
import json
import math
import sys
from pathlib import Path

import safetensors.torch
import torch
import transformers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama import modeling_llama
from transformers.models.mistral import modeling_mistral
from transformers.models.opt import modeling_opt
from transformers.models.qwen2 import modeling_qwen2
from transformers.models.qwen3 import modeling_qwen3

HERE = Path(__file__).resolve().parent
PROMPT_TOKENS = (1, 7, 70, 150)
FILE_BYTES_MAX = 900_000
# Two float32 runs on different machines differ by the order of their sums only.
CHECK_TOLERANCE = 2e-4

COMMON = {
    "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 1024,
    "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "bos_token_id": 0, "eos_token_id": 1,
    "pad_token_id": None, "initializer_range": 0.1,
}  # fmt: skip


def llama():
    """bf16, llama3 rope scaling that already bends within 200 positions, untied head."""
    rope = {
        "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
    }  # fmt: skip
    config = LlamaConfig(
        vocab_size=601, hidden_size=64, num_hidden_layers=2, rope_parameters=rope,
        tie_word_embeddings=False, **COMMON,
    )  # fmt: skip
    return LlamaForCausalLM(config), torch.bfloat16


def llama_linear():
    """f32, linear rope scaling by 4, tied head."""
    rope = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
    config = LlamaConfig(
        vocab_size=601, hidden_size=64, num_hidden_layers=2, rope_parameters=rope,
        tie_word_embeddings=True, **COMMON,
    )  # fmt: skip
    return LlamaForCausalLM(config), torch.float32


def qwen2():
    """fp16, bias on q, k and v, tied head, heads wider than hidden, several files."""
    config = Qwen2Config(
        vocab_size=599, hidden_size=64, num_hidden_layers=2, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}, use_sliding_window=False,
        **COMMON,
    )  # fmt: skip
    return Qwen2ForCausalLM(config), torch.float16


TINY = {"llama": llama, "llama_linear": llama_linear, "qwen2": qwen2}


@torch.no_grad()
def randomise(model, seed):
    """Weights large enough that attention is far from uniform and logits are far from zero."""
    generator = torch.Generator().manual_seed(seed)
    for name, p in sorted(model.named_parameters()):
        noise = torch.randn(p.shape, generator=generator)
        if p.dim() == 1 and name.endswith("norm.weight"):
            p.copy_(1.0 + 0.2 * noise)
        elif name.endswith("bias"):
            p.copy_(0.5 * noise)
        elif "q_proj" in name or "k_proj" in name:
            p.copy_(0.2 * noise)
        elif "embed_tokens" in name or "lm_head" in name:
            p.copy_(0.1 * noise)
        else:
            p.copy_(0.08 * noise)
    model.tie_weights()


def spell_as_before_v5(path):
    """Rewrites rope and dtype as files before transformers 5 have them; most files in use do."""
    config = json.loads(path.read_text(encoding="utf-8"))
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = {"type": rope.pop("rope_type"), **rope}
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.40.0"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def make_checkpoint(name, seed):
    """Saves the tiny model `name` in shards below the size limit of a committed file."""
    torch.manual_seed(seed)
    model, dtype = TINY[name]()
    randomise(model, seed)
    folder = HERE / name
    for old in folder.glob("*.safetensors*"):
        old.unlink()
    model.to(dtype).save_pretrained(folder, max_shard_size="700KB")
    if name == "llama_linear":
        spell_as_before_v5(folder / "config.json")
    for path in folder.iterdir():
        if path.stat().st_size >= FILE_BYTES_MAX:
            raise ValueError(f"{path} has {path.stat().st_size} bytes, limit {FILE_BYTES_MAX}")


def positions_to_keep(tokens, middle):
    """The first position, `middle` in between and the last three."""
    last = [p for p in range(tokens - 3, tokens) if p > 0]
    between = [tokens * (i + 1) // (middle + 1) for i in range(middle)] if tokens > 7 else []
    return sorted({0, *between, *last})


@contextlib.contextmanager
def bf16_cache():
    """Inside, eager attention sees keys (after RoPE) and values as a bf16 cache gives them back."""
    modules = (modeling_llama, modeling_mistral, modeling_opt, modeling_qwen2, modeling_qwen3)
    exact = [module.eager_attention_forward for module in modules]

    def rounding(attention):
        def forward(module, query, key, value, *args, **kwargs):
            return attention(
                module, query, key.bfloat16().float(), value.bfloat16().float(), *args, **kwargs
            )

        return forward

    for module, attention in zip(modules, exact, strict=True):
        module.eager_attention_forward = rounding(attention)
    try:
        yield
    finally:
        for module, attention in zip(modules, exact, strict=True):
            module.eager_attention_forward = attention


@torch.no_grad()
def compute(model_dir, middle, texts):
    """Returns the tensors of logits.safetensors for the model in the folder."""
    model = AutoModelForCausalLM.from_pretrained(
        model_dir, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    generator = torch.Generator().manual_seed(7)
    prompts = [
        torch.randint(0, model.config.vocab_size, (n,), generator=generator) for n in PROMPT_TOKENS
    ]
    tensors = {}
    for i, prompt in enumerate(prompts + texts):
        positions = torch.tensor(positions_to_keep(len(prompt), middle))
        logits = model(prompt[None]).logits[0]
        with bf16_cache():
            rounded = model(prompt[None]).logits[0]
        if logits.dtype != torch.float32 or not torch.isfinite(logits).all():
            raise ValueError(f"prompt {i}: logits are {logits.dtype} or not finite")
        tensors[f"prompt_{i}"] = prompt
        tensors[f"positions_{i}"] = positions
        tensors[f"logits_{i}"] = logits[positions].clone()
        tensors[f"logits_bf16_kv_{i}"] = rounded[positions].clone()
        spread = logits[positions].std(-1).mean().item()
        moved = (logits - rounded)[positions].abs().max().item()
        print(
            f"{model_dir.name} prompt {i}: {len(prompt)} tokens, logit spread {spread:.3f}, "
            f"moved {moved:.4f} by a bf16 cache"
        )
    return tensors


# Of the families' models: heads wider than hidden, four leaves in every row-parallel linear, a last
# vocabulary tile of eight rows, a few hundred KB.
SMALL = {
    "vocab_size": 520, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 512,
    "max_position_embeddings": 256, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": None,
    "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "hidden_act": "silu",
}  # fmt: skip
INTERNLM = {
    "vocab_size": 520, "hidden_size": 64, "intermediate_size": 512, "num_hidden_layers": 1,
    "num_attention_heads": 4, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2, "hidden_act": "silu",
    "tie_word_embeddings": False,
}  # fmt: skip
PLAIN = {"rope_type": "default", "rope_theta": 10000.0}
FAMILY_PROMPT_TOKENS = (1, 7, 70, 150)
DECODE_TOKENS = 4
# A continuation is kept whose every token leads by this many standard deviations of its logits.
DECODE_LEAD = 0.15


def of_tiny(name, **changes):
    """The settings of a checkpoint of `tiny`, for a variant that has its weights."""
    config = json.loads((HERE / name / "config.json").read_text(encoding="utf-8"))
    for key in ("architectures", "model_type", "rope_parameters", "dtype", "layer_types"):
        config.pop(key, None)
    return {**config, **changes}


def qk_yarn(**more):
    return {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0,
            "original_max_position_embeddings": 32, **more}  # fmt: skip


# Each: the folder of the weights (none: its own), and the model.
NATIVE = {
    "mistral_window": ("llama", lambda: MistralForCausalLM(MistralConfig(
        **of_tiny("llama", rope_parameters=PLAIN, sliding_window=40)))),
    "llama_yarn": ("llama", lambda: LlamaForCausalLM(LlamaConfig(
        **of_tiny("llama", rope_parameters=qk_yarn())))),
    "llama_yarn_mscale": ("llama", lambda: LlamaForCausalLM(LlamaConfig(
        **of_tiny("llama", rope_parameters=qk_yarn(
            mscale=1.0, mscale_all_dim=0.5, beta_fast=4.0, beta_slow=0.5, truncate=False))))),
    "llama_dynamic": ("llama", lambda: LlamaForCausalLM(LlamaConfig(
        **of_tiny("llama", max_position_embeddings=64, rope_parameters={
            "rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0})))),
    "llama_bias": ("internlm", lambda: LlamaForCausalLM(LlamaConfig(
        **{**INTERNLM, "max_position_embeddings": 256}, rope_parameters=PLAIN,
        attention_bias=True))),
    "qwen2_window": ("qwen2", lambda: Qwen2ForCausalLM(Qwen2Config(
        **of_tiny("qwen2", rope_parameters=PLAIN, use_sliding_window=True, sliding_window=48,
                  max_window_layers=0)))),
    "qwen3": (None, lambda: Qwen3ForCausalLM(Qwen3Config(**SMALL, rope_parameters=PLAIN))),
    "opt": (None, lambda: OPTForCausalLM(OPTConfig(
        vocab_size=520, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, ffn_dim=512,
        max_position_embeddings=256, bos_token_id=0, eos_token_id=1, pad_token_id=None,
        word_embed_proj_dim=64))),
}  # fmt: skip


def few_bits(values):
    """Exact in fp16, and small once a repository has compressed them."""
    return (values * 64).round() / 64


class Native:
    """A model of transformers, with its frequencies frozen where they depend on the length."""

    def __init__(self, name):
        folder, make = NATIVE[name]
        self.model = make().eval()
        self.own = folder is None
        if self.own:
            randomise(self.model, 1)
            for p in self.model.parameters():
                p.data = few_bits(p.data)
            self.model.tie_weights()
        else:
            tensors = {}
            for path in sorted((HERE / folder).glob("model*.safetensors")):
                tensors.update(safetensors.torch.load_file(path))
            tensors = {k: v.float() for k, v in tensors.items()}
            if self.model.config.tie_word_embeddings:
                tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
            self.model.load_state_dict(tensors)
        self.model.set_attn_implementation("eager")
        self.vocab = self.model.config.vocab_size

    def save(self, folder):
        if self.own:
            # A copy: half() would round the frequencies of rope too.
            copy.deepcopy(self.model).half().save_pretrained(folder)
        else:
            self.model.config.architectures = [type(self.model).__name__]
            self.model.config.save_pretrained(folder)

    def logits(self, tokens, rope_length, round_kv):
        rotary = getattr(self.model.model, "rotary_emb", None)
        if rotary is not None and rotary.rope_type in ("dynamic", "frozen"):
            rotary.inv_freq = ROPE_INIT_FUNCTIONS["dynamic"](
                self.model.config, seq_len=rope_length)[0]  # fmt: skip
            rotary.rope_type = "frozen"
        with bf16_cache() if round_kv else contextlib.nullcontext():
            return self.model(tokens[None]).logits[0]


def qwen_inverse_frequencies(config, rope_length):
    """modeling_qwen.py: a power of two of the base for each doubling beyond seq_length."""
    dim, base = config["kv_channels"], float(config["rotary_emb_base"])
    if config["use_dynamic_ntk"]:
        steps = math.ceil(math.log2(rope_length / config["seq_length"]) + 1)
        base *= max(2**steps - 1, 1) ** (dim / (dim - 2))
    return base ** (-torch.arange(0, dim, 2).double() / dim)


def internlm_inverse_frequencies(config, rope_length):
    """The rule of transformers' "dynamic", of which modeling_internlm*.py has copies."""
    dim = config["hidden_size"] // config["num_attention_heads"]
    scaling = config.get("rotary") or {
        "base": config["rope_theta"], **config["rope_scaling"]}  # fmt: skip
    factor = scaling.get("factor", scaling.get("scaling_factor", 1.0))
    longer = max(rope_length / config["max_position_embeddings"], 1.0)
    base = scaling["base"] * (factor * longer - (factor - 1)) ** (dim / (dim - 2))
    return base ** (-torch.arange(0, dim, 2).double() / dim)


def qwen_parts(config, tensors, layer):
    at = f"transformer.h.{layer}."
    hidden = config["hidden_size"]
    q, k, v = tensors[at + "attn.c_attn.weight"].split(hidden)
    bias = tensors[at + "attn.c_attn.bias"].split(hidden)
    return {
        "norm": tensors[at + "ln_1.weight"], "mlp_norm": tensors[at + "ln_2.weight"],
        "q": (q, bias[0]), "k": (k, bias[1]), "v": (v, bias[2]),
        "o": (tensors[at + "attn.c_proj.weight"], None),
        "gate": tensors[at + "mlp.w2.weight"], "up": tensors[at + "mlp.w1.weight"],
        "down": tensors[at + "mlp.c_proj.weight"],
    }  # fmt: skip


def internlm_parts(_config, tensors, layer):
    at = f"model.layers.{layer}."

    def linear(name):
        return tensors[at + name + ".weight"], tensors.get(at + name + ".bias")

    return {
        "norm": tensors[at + "input_layernorm.weight"],
        "mlp_norm": tensors[at + "post_attention_layernorm.weight"],
        **{part: linear(f"self_attn.{part}_proj") for part in ("q", "k", "v", "o")},
        **{part: linear(f"mlp.{part}_proj")[0] for part in ("gate", "up", "down")},
    }


def internlm2_parts(config, tensors, layer):
    at = f"model.layers.{layer}."
    kv, hidden = config["num_key_value_heads"], config["hidden_size"]
    dim = hidden // config["num_attention_heads"]
    # In each kv group: its query heads, its key, its value.
    wqkv = tensors[at + "attention.wqkv.weight"].view(kv, -1, dim, hidden)
    return {
        "norm": tensors[at + "attention_norm.weight"],
        "mlp_norm": tensors[at + "ffn_norm.weight"],
        "q": (wqkv[:, :-2].reshape(-1, hidden), None),
        "k": (wqkv[:, -2].reshape(-1, hidden), None),
        "v": (wqkv[:, -1].reshape(-1, hidden), None),
        "o": (tensors[at + "attention.wo.weight"], None),
        "gate": tensors[at + "feed_forward.w1.weight"],
        "up": tensors[at + "feed_forward.w3.weight"],
        "down": tensors[at + "feed_forward.w2.weight"],
    }


# Each: config.json, where the parts of a layer and the ends are, and the frequencies.
REMOTE = {
    "qwen": ({
        "architectures": ["QWenLMHeadModel"], "model_type": "qwen", "vocab_size": 520,
        "hidden_size": 64, "intermediate_size": 1024, "num_hidden_layers": 2,
        "num_attention_heads": 4, "kv_channels": 16, "layer_norm_epsilon": 1e-6,
        "max_position_embeddings": 256, "seq_length": 32, "no_bias": True,
        "rotary_emb_base": 10000, "rotary_pct": 1.0, "scale_attn_weights": True,
        "tie_word_embeddings": False, "use_dynamic_ntk": True, "use_logn_attn": True,
    }, qwen_parts, ("transformer.wte", "transformer.ln_f", "lm_head"), qwen_inverse_frequencies),
    "internlm": ({
        **INTERNLM, "architectures": ["InternLMForCausalLM"], "model_type": "internlm",
        "bias": True, "rotary": {"base": 10000, "type": "dynamic"},
    }, internlm_parts, ("model.embed_tokens", "model.norm", "lm_head"),
        internlm_inverse_frequencies),
    "internlm2": ({
        **INTERNLM, "architectures": ["InternLM2ForCausalLM"], "model_type": "internlm2",
        "bias": False, "num_key_value_heads": 2, "rope_theta": 10000,
        "rope_scaling": {"type": "dynamic", "factor": 4.0},
    }, internlm2_parts, ("model.tok_embeddings", "model.norm", "output"),
        internlm_inverse_frequencies),
}  # fmt: skip


def remote_shapes(name, config):
    """Names and shapes of the checkpoint."""
    hidden, vocab = config["hidden_size"], config["vocab_size"]
    heads = config["num_attention_heads"]
    kv = hidden // heads * config.get("num_key_value_heads", heads)
    ffn = config["intermediate_size"] // (2 if name == "qwen" else 1)
    ends = REMOTE[name][2]
    shapes = {ends[0]: (vocab, hidden), ends[1]: (hidden,), ends[2]: (vocab, hidden)}
    modules = {
        "qwen": ("transformer.h", {
            "ln_1": (hidden,), "attn.c_attn": (3 * hidden, hidden), "attn.c_proj": (hidden, hidden),
            "ln_2": (hidden,), "mlp.w1": (ffn, hidden), "mlp.w2": (ffn, hidden),
            "mlp.c_proj": (hidden, ffn)}, ("attn.c_attn",)),
        "internlm": ("model.layers", {
            "input_layernorm": (hidden,), "post_attention_layernorm": (hidden,),
            **{f"self_attn.{p}_proj": (hidden, hidden) for p in "qkvo"},
            "mlp.gate_proj": (ffn, hidden), "mlp.up_proj": (ffn, hidden),
            "mlp.down_proj": (hidden, ffn)}, tuple(f"self_attn.{p}_proj" for p in "qkvo")),
        "internlm2": ("model.layers", {
            "attention_norm": (hidden,), "ffn_norm": (hidden,),
            "attention.wqkv": (hidden + 2 * kv, hidden), "attention.wo": (hidden, hidden),
            "feed_forward.w1": (ffn, hidden), "feed_forward.w3": (ffn, hidden),
            "feed_forward.w2": (hidden, ffn)}, ()),
    }  # fmt: skip
    prefix, layer, biased = modules[name]
    for i in range(config["num_hidden_layers"]):
        for module, shape in layer.items():
            shapes[f"{prefix}.{i}.{module}"] = shape
    shapes = {f"{module}.weight": shape for module, shape in shapes.items()}
    for module, shape in list(shapes.items()):
        if module.endswith(tuple(f"{b}.weight" for b in biased)):
            shapes[module.removesuffix("weight") + "bias"] = shape[:1]
    return shapes


def rms_norm(x, weight, eps):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


class Reference:
    """A decoder in float32 for the families that are no part of transformers."""

    def __init__(self, name, config=None, tensors=None):
        self.name = name
        self.config, self.parts, self.ends, self.frequencies = REMOTE[name]
        self.config = config or self.config
        self.vocab = self.config["vocab_size"]
        self.tensors = tensors or self.random_tensors()

    def random_tensors(self):
        generator = torch.Generator().manual_seed(1)
        tensors = {}
        for name, shape in sorted(remote_shapes(self.name, self.config).items()):
            noise = torch.randn(shape, generator=generator)
            if name.endswith("bias"):
                value = 0.5 * noise
            elif len(shape) == 1:
                value = 1.0 + 0.2 * noise
            else:
                value = 0.12 * noise
            tensors[name] = few_bits(value)
        return tensors

    def save(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        halves = {k: v.half().contiguous() for k, v in self.tensors.items()}
        safetensors.torch.save_file(halves, folder / "model.safetensors", {"format": "pt"})
        text = json.dumps({**self.config, "torch_dtype": "float16"}, indent=2, sort_keys=True)
        (folder / "config.json").write_text(text + "\n", encoding="utf-8")

    def attention(self, part, h, cos_sin, round_kv):
        config = self.config
        tokens, heads = len(h), config["num_attention_heads"]
        dim = config["hidden_size"] // heads
        q, k, v = (
            torch.nn.functional.linear(h, *part[p]).view(tokens, -1, dim).transpose(0, 1)
            for p in "qkv"
        )

        def rotate(x):
            turned = torch.cat((-x[..., dim // 2 :], x[..., : dim // 2]), -1)
            return x * cos_sin[0] + turned * cos_sin[1]

        q, k = rotate(q), rotate(k)
        if config.get("use_logn_attn"):
            trained = config["seq_length"]
            scale = [max(math.log(p + 1, trained), 1.0) for p in range(tokens)]
            q = q * torch.tensor(scale)[:, None]
        if round_kv:
            k, v = k.bfloat16().float(), v.bfloat16().float()
        k, v = (x.repeat_interleave(heads // len(x), 0) for x in (k, v))
        scores = q @ k.transpose(1, 2) / math.sqrt(dim)
        scores += torch.full((tokens, tokens), -math.inf).triu(1)
        mixed = (scores.softmax(-1) @ v).transpose(0, 1).reshape(tokens, -1)
        return torch.nn.functional.linear(mixed, *part["o"])

    def logits(self, tokens, rope_length, round_kv):
        config = self.config
        eps = config.get("rms_norm_eps", config.get("layer_norm_epsilon"))
        frequencies = self.frequencies(config, rope_length).float()
        angles = torch.outer(torch.arange(len(tokens)).float(), frequencies)
        angles = torch.cat((angles, angles), -1)
        cos_sin = angles.cos(), angles.sin()
        x = self.tensors[self.ends[0] + ".weight"][tokens]
        for layer in range(config["num_hidden_layers"]):
            part = self.parts(config, self.tensors, layer)
            x = x + self.attention(part, rms_norm(x, part["norm"], eps), cos_sin, round_kv)
            h = rms_norm(x, part["mlp_norm"], eps)
            gated = torch.nn.functional.silu(h @ part["gate"].T) * (h @ part["up"].T)
            x = x + gated @ part["down"].T
        x = rms_norm(x, self.tensors[self.ends[1] + ".weight"], eps)
        return x @ self.tensors[self.ends[2] + ".weight"].T


def native_twin(reference):
    """The model of transformers that computes the same as `reference` does within its length."""
    config = reference.config
    heads = config["num_attention_heads"]
    layers = config["num_hidden_layers"]
    parts = [reference.parts(config, reference.tensors, i) for i in range(layers)]
    has_bias = {p: parts[0][p][1] is not None for p in "qo"}
    settings = {
        "vocab_size": reference.vocab, "hidden_size": config["hidden_size"],
        "intermediate_size": len(parts[0]["gate"]), "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": config.get("num_key_value_heads", heads),
        "rms_norm_eps": config.get("rms_norm_eps", config.get("layer_norm_epsilon")),
        "rope_parameters": PLAIN, "tie_word_embeddings": False, "pad_token_id": None,
    }  # fmt: skip
    if has_bias["q"] and not has_bias["o"]:
        model = Qwen2ForCausalLM(Qwen2Config(**settings))
    else:
        model = LlamaForCausalLM(LlamaConfig(**settings, attention_bias=has_bias["o"]))
    names = ("model.embed_tokens", "model.norm", "lm_head")
    tensors = {
        ours + ".weight": reference.tensors[theirs + ".weight"]
        for ours, theirs in zip(names, reference.ends, strict=True)
    }
    for i, part in enumerate(parts):
        at = f"model.layers.{i}."
        tensors[at + "input_layernorm.weight"] = part["norm"]
        tensors[at + "post_attention_layernorm.weight"] = part["mlp_norm"]
        for p in "qkvo":
            tensors[at + f"self_attn.{p}_proj.weight"] = part[p][0]
            if part[p][1] is not None:
                tensors[at + f"self_attn.{p}_proj.bias"] = part[p][1]
        for p in ("gate", "up", "down"):
            tensors[at + f"mlp.{p}_proj.weight"] = part[p]
    model.load_state_dict(tensors)
    model.set_attn_implementation("eager")
    return model.eval()


def hold_against_native(reference):
    """Where the two coincide: no dynamic scaling and no logn, exact keys and rounded ones."""
    config = {**reference.config, "use_dynamic_ntk": False, "use_logn_attn": False}
    plain = Reference(reference.name, config, reference.tensors)
    model = native_twin(plain)
    tokens = torch.arange(60) * 37 % plain.vocab
    for round_kv in (False, True):
        with bf16_cache() if round_kv else contextlib.nullcontext():
            native = model(tokens[None]).logits[0]
        ours = plain.logits(tokens, 1, round_kv)
        error = ((ours - native).abs().max() / native.std()).item()
        print(f"{reference.name}: {error:.1e} from {type(model).__name__}, bf16 keys: {round_kv}")
        # A key may round to the other bf16 number where sums differ in their order.
        if error > (2e-3 if round_kv else 2e-5):
            raise ValueError(f"{reference.name}: the reference is not the native model")


def greedy(model, prompt, tensors):
    """Stores a continuation whose every token leads clearly, so that others find the same."""
    tokens = prompt
    for _ in range(DECODE_TOKENS):
        last = model.logits(tokens, len(prompt), True)[-1]
        best = last.topk(2).values
        if best[0] - best[1] < DECODE_LEAD * last.std():
            return False
        tokens = torch.cat((tokens, last.argmax()[None]))
    rows = slice(len(prompt) - 1, len(tokens) - 1)
    tensors["decode_prompt"] = prompt
    tensors["decode_tokens"] = tokens[len(prompt) :].clone()
    for name, round_kv in (("decode_logits", False), ("decode_logits_bf16_kv", True)):
        tensors[name] = model.logits(tokens, len(prompt), round_kv)[rows].clone()
    return True


@torch.no_grad()
def compute_family(name, model):
    """Returns the tensors of logits.safetensors."""
    tensors = {}
    generator = torch.Generator().manual_seed(11)
    prompts = functools.partial(torch.randint, 0, model.vocab, generator=generator)
    for i, count in enumerate(FAMILY_PROMPT_TOKENS):
        prompt = prompts((count,))
        # The last tokens of the longest one are as a server generates them: after its prompt.
        rope_length = count if count < 100 else count - 20
        positions = torch.tensor(positions_to_keep(count, 1))
        tensors[f"prompt_{i}"] = prompt
        tensors[f"positions_{i}"] = positions
        tensors[f"rope_length_{i}"] = torch.tensor([rope_length])
        for kind, round_kv in (("logits", False), ("logits_bf16_kv", True)):
            logits = model.logits(prompt, rope_length, round_kv)
            if logits.dtype != torch.float32 or not torch.isfinite(logits).all():
                raise ValueError(f"{name}: logits are {logits.dtype} or not finite")
            tensors[f"{kind}_{i}"] = logits[positions].clone()
    moved = (tensors["logits_3"] - tensors["logits_bf16_kv_3"]).abs().max().item()
    print(f"{name}: logit spread {tensors['logits_3'].std():.3f}, moved {moved:.4f} by bf16 keys")
    for _ in range(1000):
        if greedy(model, prompts((100,)), tensors):
            return tensors
    raise ValueError(f"{name}: no continuation is clear")


def make_families(check):
    """All families, or those that differ. Returns whether all is well."""
    good = True
    for name in (*REMOTE, *NATIVE):
        torch.manual_seed(1)
        if name in REMOTE:
            model = Reference(name)
            with torch.no_grad():
                hold_against_native(model)
        else:
            model = Native(name)
        if not check:
            model.save(HERE / name)
        tensors = compute_family(name, model)
        good = write_or_check(HERE / name / "logits.safetensors", tensors, check) and good
    return good


def demo_texts(model_dir):
    """Ids of prompts that the demo model is made for: a chapter's opening and one task."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
    texts = [
        "In the beginning God created the heaven and the earth.\n2 And the earth was without form,",
        "find: k=42 c=37 t=89 ? c=",
    ]
    return [torch.tensor(tokenizer.encode(text).ids) for text in texts]


def write_or_check(path, tensors, check):
    """Writes the file, or compares with it. Returns whether all is well."""
    if not check:
        metadata = {"format": "pt", "transformers": transformers.__version__}
        path.parent.mkdir(parents=True, exist_ok=True)
        safetensors.torch.save_file(tensors, path, metadata)
        if path.stat().st_size >= FILE_BYTES_MAX:
            raise ValueError(f"{path} has {path.stat().st_size} bytes, limit {FILE_BYTES_MAX}")
        return True
    stored = safetensors.torch.load_file(path)
    good = stored.keys() == tensors.keys()
    for name in sorted(stored.keys() & tensors.keys()):
        if stored[name].shape != tensors[name].shape:
            print(f"{path} {name}: shape {list(tensors[name].shape)}, {list(stored[name].shape)}")
            good = False
            continue
        error = (stored[name] - tensors[name]).abs().max().item()
        good = good and error <= (CHECK_TOLERANCE if name.startswith("logits") else 0)
        if error:
            print(f"{path.parent.name} {name}: greatest difference {error:.2e}")
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["tiny", "families", "demo"])
    parser.add_argument("model_dir", type=Path, nargs="?", help="demo: the model folder")
    parser.add_argument("--check", action="store_true", help="compare with what is stored")
    parser.add_argument("--seed", type=int, default=1, help="of the tiny weights")
    args = parser.parse_args()
    torch.set_num_threads(1)
    good = True
    if args.what == "demo":
        if args.model_dir is None:
            parser.error("demo needs the model folder")
        # The large vocabulary leaves room for fewer positions.
        tensors = compute(args.model_dir, 1, demo_texts(args.model_dir))
        good = write_or_check(HERE / "demo" / "logits.safetensors", tensors, args.check)
    elif args.what == "families":
        good = make_families(args.check)
    else:
        for name in TINY:
            if not args.check:
                make_checkpoint(name, args.seed)
            tensors = compute(HERE / name, 12, [])
            good = write_or_check(HERE / name / "logits.safetensors", tensors, args.check) and good
    if not good:
        sys.exit("goldens differ")


if __name__ == "__main__":
    main()
