#!/usr/bin/env python3
"""Writes tiny random checkpoints and the logits that Hugging Face transformers computes for them.

Weights are used exactly as stored (bf16, fp16 or f32), widened to float32, and all arithmetic is
float32 on a CPU with eager attention. Per model one logits.safetensors holds, for each prompt i:
  prompt_i     I64 [tokens]              token ids
  positions_i  I64 [positions]           the positions whose logits are kept
  logits_i     F32 [positions, vocab]    logits at those positions
  logits_bf16_kv_i                       the same with keys and values rounded to bf16, as a bf16 KV
                                         cache holds them
`make_goldens.py tiny` remakes the checkpoints and their logits, `make_goldens.py demo MODEL_DIR`
the logits of the demo model. `--check` computes again and compares instead of writing.
"""

import argparse
import contextlib
import json
import sys
from pathlib import Path

import safetensors.torch
import torch
import transformers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers.models.llama import modeling_llama
from transformers.models.qwen2 import modeling_qwen2

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
    modules = (modeling_llama, modeling_qwen2)
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
    parser.add_argument("what", choices=["tiny", "demo"])
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
