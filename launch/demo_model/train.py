#!/usr/bin/env python3
"""Trains the demo model: a byte-level BPE tokenizer and a small Llama, on a CPU, resumably.

Reads the King James text through the `bible` program (Debian packages bible-kjv and
bible-kjv-text) and the tasks that make_tasks.py wrote. Everything that grows during training lies
in --work: tokenizer.json, checkpoint.pt, log.txt. `--export DIR` writes the Hugging
Face files. The learning rate follows training time spent against --minutes, which a checkpoint
carries, so a run that was stopped ends like one that was not.
"""

import argparse
import hashlib
import json
import math
import os
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Two threads of our own, one per batch, wait for each other once per step; two OpenMP threads would
# at every operation, which costs most when the processor is shared.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

VOCAB = 4096
HIDDEN = 256
LAYERS = 6
HEADS = 8
KV_HEADS = 2
HEAD_DIM = 32
INTERMEDIATE = 1024
MAX_POSITIONS = 1024
ROPE_THETA = 10000.0
NORM_EPS = 1e-5
END = "<|endoftext|>"
END_ID = 0

# The split of Qwen2: words keep their leading space, every digit stands alone.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# What `bible -f` calls the books, and their usual names.
BOOK_NAMES = (
    "Ge=Genesis, Exo=Exodus, Lev=Leviticus, Num=Numbers, Deu=Deuteronomy, Josh=Joshua, "
    "Jdgs=Judges, Ruth=Ruth, 1Sm=1 Samuel, 2Sm=2 Samuel, 1Ki=1 Kings, 2Ki=2 Kings, "
    "1Chr=1 Chronicles, 2Chr=2 Chronicles, Ezra=Ezra, Neh=Nehemiah, Est=Esther, Job=Job, "
    "Psa=Psalm, Prv=Proverbs, Eccl=Ecclesiastes, SSol=Song of Solomon, Isa=Isaiah, "
    "Jer=Jeremiah, Lam=Lamentations, Eze=Ezekiel, Dan=Daniel, Hos=Hosea, Joel=Joel, Amos=Amos, "
    "Obad=Obadiah, Jonah=Jonah, Mic=Micah, Nahum=Nahum, Hab=Habakkuk, Zep=Zephaniah, "
    "Hag=Haggai, Zec=Zechariah, Mal=Malachi, Mat=Matthew, Mark=Mark, Luke=Luke, John=John, "
    "Acts=Acts, Rom=Romans, 1Cor=1 Corinthians, 2Cor=2 Corinthians, Gal=Galatians, "
    "Eph=Ephesians, Phi=Philippians, Col=Colossians, 1Th=1 Thessalonians, 2Th=2 Thessalonians, "
    "1Tim=1 Timothy, 2Tim=2 Timothy, Titus=Titus, Phmn=Philemon, Heb=Hebrews, Jas=James, "
    "1Pet=1 Peter, 2Pet=2 Peter, 1Jn=1 John, 2Jn=2 John, 3Jn=3 John, Jude=Jude, "
    "Rev=Revelation"
)
BOOKS = dict(pair.split("=") for pair in BOOK_NAMES.split(", "))


def read_chapters():
    """Returns [(title, text)] of the whole book, one entry per chapter."""
    out = subprocess.run(
        ["bible", "-f", "gen1:1-rev22:21"], check=True, capture_output=True, text=True
    ).stdout
    chapters = {}
    for line in out.splitlines():
        match = re.match(r"(\d?[A-Za-z]+)(\d+):(\d+) (.*)", line)
        if not match:
            raise ValueError(f"unexpected line from bible: {line[:60]!r}")
        book, chapter, verse, text = match.groups()
        title = f"{BOOKS[book]} {chapter}"
        chapters.setdefault(title, []).append(f"{verse} {text.strip()}")
    return [(title, f"{title}\n" + "\n".join(v) + "\n") for title, v in chapters.items()]


def is_held_out(title):
    """About one chapter in 32, by name, the same on every machine."""
    return hashlib.sha256(title.encode()).digest()[0] < 8


def train_tokenizer(texts):
    """Byte-level BPE with exactly VOCAB entries, the end token being id 0."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() != VOCAB:
        raise ValueError(f"vocabulary has {tokenizer.get_vocab_size()} entries, not {VOCAB}")
    return tokenizer


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj = nn.Linear(HIDDEN, HEADS * HEAD_DIM, bias=False)
        self.k_proj = nn.Linear(HIDDEN, KV_HEADS * HEAD_DIM, bias=False)
        self.v_proj = nn.Linear(HIDDEN, KV_HEADS * HEAD_DIM, bias=False)
        self.o_proj = nn.Linear(HEADS * HEAD_DIM, HIDDEN, bias=False)

    def forward(self, x, cos, sin):
        rows, tokens, _ = x.shape
        q = self.q_proj(x).view(rows, tokens, HEADS, HEAD_DIM).transpose(1, 2)
        k = self.k_proj(x).view(rows, tokens, KV_HEADS, HEAD_DIM).transpose(1, 2)
        v = self.v_proj(x).view(rows, tokens, KV_HEADS, HEAD_DIM).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        k = k.repeat_interleave(HEADS // KV_HEADS, dim=1)
        v = v.repeat_interleave(HEADS // KV_HEADS, dim=1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(rows, tokens, HEADS * HEAD_DIM))


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_proj = nn.Linear(HIDDEN, INTERMEDIATE, bias=False)
        self.up_proj = nn.Linear(HIDDEN, INTERMEDIATE, bias=False)
        self.down_proj = nn.Linear(INTERMEDIATE, HIDDEN, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(HIDDEN, eps=NORM_EPS)
        self.self_attn = Attention()
        self.post_attention_layernorm = nn.RMSNorm(HIDDEN, eps=NORM_EPS)
        self.mlp = Mlp()

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    """Parameter names are those of the Hugging Face checkpoint without the prefix `model.`."""

    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(VOCAB, HIDDEN)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = nn.RMSNorm(HIDDEN, eps=NORM_EPS)
        inv = ROPE_THETA ** (-torch.arange(0, HEAD_DIM, 2, dtype=torch.float64) / HEAD_DIM)
        angle = torch.outer(torch.arange(MAX_POSITIONS, dtype=torch.float64), inv)
        angle = torch.cat([angle, angle], dim=-1)
        self.register_buffer("cos", angle.cos().float(), persistent=False)
        self.register_buffer("sin", angle.sin().float(), persistent=False)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                out = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * LAYERS) if out else 0.02)

    def forward(self, ids):
        x = self.embed_tokens(ids)
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x, cos, sin)
        return F.linear(self.norm(x), self.embed_tokens.weight)


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return x * cos.to(x.dtype) + torch.cat([-b, a], dim=-1) * sin.to(x.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum whose update is brought near an orthogonal matrix (Jordan et al., 2024)."""

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def step(self, pool):
        for group in self.param_groups:
            list(pool.map(lambda p, group=group: self._update(p, group), group["params"]))

    @torch.no_grad()
    def _update(self, p, group):
        state = self.state[p]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(p)
        m = state["momentum"].lerp_(p.grad, 1 - group["momentum"])
        update = orthogonalise(p.grad.lerp(m, group["momentum"]))
        scale = math.sqrt(max(1.0, p.shape[0] / p.shape[1]))
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.add_(update, alpha=-group["lr"] * scale)


def orthogonalise(g):
    """Five Newton-Schulz steps with the quintic of the Muon paper, in bf16 as there."""
    tall = g.shape[0] > g.shape[1]
    x = (g.T if tall else g).bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return (x.T if tall else x).float()


def has_text(step):
    return step % 3 != 0


class Batches:
    """Draws the batch of a step from (seed, step) alone, so that a resumed run sees the same."""

    def __init__(self, bible, tasks, seed):
        self.bible = bible  # [tokens] int64, chapters with END_ID between
        self.tasks = tasks  # {task: [(ids, prompt_tokens)]}
        self.names = sorted(tasks)
        self.seed = seed

    def draw(self, step, weights):
        """Returns two of (ids [rows, n+1], loss weight [rows, n]).

        The second is always a task batch; the first is text on two steps of three.
        """
        rng = np.random.default_rng([self.seed, step])
        text_tokens = (256, 512, 512, 1024)[step % 4]
        task_tokens = (128, 128, 128, 512, 128, 128, 128, 1024)[step % 8]
        text_rows = [self._text_row(rng, text_tokens) for _ in range(2048 // text_tokens)]
        task_rows = [self._task_row(rng, task_tokens, weights) for _ in range(2048 // task_tokens)]
        if not has_text(step):
            text_rows = [self._task_row(rng, 128, weights) for _ in range(16)]
        return [pack(text_rows), pack(task_rows)]

    def _text_row(self, rng, n):
        start = int(rng.integers(0, len(self.bible) - n - 1))
        return self.bible[start : start + n + 1], np.ones(n + 1, np.float32)

    def _task_row(self, rng, n, weights):
        ids, w = [], []
        if rng.random() < 0.5:
            ids.append(END_ID)
            w.append(0.1)
        p = np.array([weights[t] for t in self.names])
        while len(ids) < n + 1:
            mixed = rng.random() < 0.5
            kinds = rng.choice(len(self.names), size=rng.integers(1, 9), p=p / p.sum())
            for kind in kinds:
                pool = self.tasks[self.names[kind if mixed else kinds[0]]]
                item, prompt_tokens = pool[int(rng.integers(0, len(pool)))]
                ids += item
                w += [0.1] * prompt_tokens + [1.0] * (len(item) - prompt_tokens)
            ids.append(END_ID)
            w.append(0.1)
        return np.array(ids[: n + 1]), np.array(w[: n + 1], np.float32)


def pack(rows):
    ids = torch.from_numpy(np.stack([r[0] for r in rows])).long()
    return ids, torch.from_numpy(np.stack([r[1] for r in rows]))[:, 1:]


def batch_loss(model, ids, weight):
    logits = model(ids[:, :-1]).float()
    loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return (loss * weight.flatten()).sum() / weight.sum()


@torch.no_grad()
def evaluate(model, text, tasks, amp):
    """Returns (loss per token of the text, {task: share of exact answers}).

    An answer is exact when every token of it is the argmax given the ones before, which is what
    a greedy decode would produce.
    """
    losses = []
    with torch.autocast("cpu", torch.bfloat16, enabled=amp):
        for start in range(0, len(text) - 513, 512):
            ids = torch.from_numpy(text[start : start + 513])[None]
            losses.append(batch_loss(model, ids, torch.ones(1, 512)).item())
        exact = {}
        for task, items in tasks.items():
            longest = max(len(ids) for ids, _ in items)
            batch = torch.full((len(items), longest), END_ID)
            for row, (ids, _) in enumerate(items):
                batch[row, : len(ids)] = torch.tensor(ids)
            best = model(batch).argmax(-1)
            right = [
                all(best[row, i - 1] == ids[i] for i in range(prompt_tokens, len(ids)))
                for row, (ids, prompt_tokens) in enumerate(items)
            ]
            exact[task] = sum(right) / len(right)
    return float(np.mean(losses)), exact


def read_tasks(path, tokenizer):
    """Returns {task: [(ids, prompt_tokens)]}; prompt and answer are encoded apart."""
    with open(path, encoding="utf-8") as file:
        items = [json.loads(line) for line in file]
    prompts = tokenizer.encode_batch([i["prompt"] for i in items])
    answers = tokenizer.encode_batch([i["answer"] for i in items])
    wholes = tokenizer.encode_batch([i["prompt"] + i["answer"] for i in items])
    tasks = {}
    for item, prompt, answer, whole in zip(items, prompts, answers, wholes, strict=True):
        if prompt.ids + answer.ids != whole.ids:
            raise ValueError(f"the tokenizer joins prompt and answer: {item}")
        tasks.setdefault(item["task"], []).append((whole.ids, len(prompt.ids)))
    return tasks


def prepare(args):
    """Makes or reads the corpus and the tokenizer in the work folder."""
    from tokenizers import Tokenizer

    path = args.work / "tokenizer.json"
    chapters = read_chapters()
    train = [text for title, text in chapters if not is_held_out(title)]
    heldout = [text for title, text in chapters if is_held_out(title)]
    if not path.exists():
        with open(args.tasks, encoding="utf-8") as file:
            sample = [json.loads(next(file)) for _ in range(20000)]
        texts = train + [i["prompt"] + i["answer"] for i in sample]
        train_tokenizer(texts).save(str(path))
    tokenizer = Tokenizer.from_file(str(path))

    def join(texts):
        ids = []
        for encoding in tokenizer.encode_batch(texts):
            ids += encoding.ids + [END_ID]
        return np.array(ids)

    return tokenizer, join(train), join(heldout), heldout


def write_heldout_text(path, chapters):
    """Whole held-out chapters from all over the book, as many as fit in 60 KB."""
    kept, left = set(), 60000
    for text in sorted(chapters, key=lambda text: hashlib.sha256(text.encode()).digest()):
        if len(text.encode()) < left:
            kept.add(text)
            left -= len(text.encode()) + 1
    path.write_text("\n".join(text for text in chapters if text in kept), encoding="utf-8")


def export(model, tokenizer, folder):
    """Writes config, generation config, bf16 weights and tokenizer as Hugging Face reads them."""
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCAB, hidden_size=HIDDEN, intermediate_size=INTERMEDIATE,
        num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=KV_HEADS,
        head_dim=HEAD_DIM, max_position_embeddings=MAX_POSITIONS, rms_norm_eps=NORM_EPS,
        rope_theta=ROPE_THETA, tie_word_embeddings=True, bos_token_id=END_ID,
        eos_token_id=END_ID, pad_token_id=None,
    )  # fmt: skip
    reference = LlamaForCausalLM(config)
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    missing, unexpected = reference.load_state_dict(state, strict=False)
    if unexpected or [name for name in missing if name != "lm_head.weight"]:
        raise ValueError(f"names differ: missing {missing}, unexpected {unexpected}")
    reference.tie_weights()
    reference = reference.to(torch.bfloat16)
    reference.generation_config = GenerationConfig(
        bos_token_id=END_ID, eos_token_id=END_ID, do_sample=False
    )
    folder.mkdir(parents=True, exist_ok=True)
    reference.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END, "eos_token": END,
        "model_max_length": MAX_POSITIONS, "clean_up_tokenization_spaces": False,
        # Joins the messages and no more: the model was not trained on dialogue.
        "chat_template": "{% for message in messages %}{{ message.content }}"
                         "{% if not loop.last %}\n{% endif %}{% endfor %}",
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def make_optimizers(model, args):
    """Muon for the matrices of the layers, AdamW for the embedding and the norms."""
    matrices = [p for p in model.layers.parameters() if p.dim() == 2]
    norms = [p for p in model.parameters() if p.dim() == 1]
    muon = Muon(matrices, lr=args.muon_lr, weight_decay=args.weight_decay)
    adam = torch.optim.AdamW(
        [{"params": [model.embed_tokens.weight]}, {"params": norms}],
        lr=args.adam_lr, betas=(0.9, 0.95), weight_decay=0.0,
    )  # fmt: skip
    for optimizer in (muon, adam):
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return [muon, adam]


def set_learning_rate(optimizers, step, progress):
    """Warm-up by steps, then a cosine over the time budget down to 2 percent."""
    cosine = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    share = min(1.0, (step + 1) / 60) * cosine
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * share


def save_checkpoint(path, model, optimizers, progress):
    temporary = path.with_suffix(".tmp")
    state = {"model": model.state_dict(), "optimizers": [o.state_dict() for o in optimizers]}
    torch.save(state | progress, temporary)
    temporary.replace(path)


def load_checkpoint(path, model, optimizers):
    """Fills model and optimizers if there is a checkpoint. Returns where training stands."""
    if not path.exists():
        return {"step": 0, "seconds": 0.0, "tokens": 0, "weights": None}
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return {key: state[key] for key in ("step", "seconds", "tokens", "weights")}


def train_step(model, forward, optimizers, batch, args, pool):
    """One update from two batches, each on a thread. Returns their losses."""
    params = list(model.parameters())

    def gradients(part, share):
        ids, weight = part
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            loss = batch_loss(forward, ids, weight)
        return loss.item(), torch.autograd.grad(loss * share, params)

    shares = (1.0 - args.task_share, args.task_share)
    (first_loss, first_grads), (second_loss, second_grads) = pool.map(gradients, batch, shares)
    for p, first_grad, second_grad in zip(params, first_grads, second_grads, strict=True):
        p.grad = first_grad.add_(second_grad)
    torch.nn.utils.clip_grad_norm_(params, 1.0)
    muon, adam = optimizers
    muon.step(pool)
    adam.step()
    return first_loss, second_loss


def say(args, line):
    print(line, flush=True)
    with open(args.work / "log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


def train(args, model, optimizers, progress, tokenizer, text, heldout):
    """Trains until the time budget is spent, with a checkpoint after every evaluation."""
    train_tasks = read_tasks(args.tasks, tokenizer)
    validation_tasks = read_tasks(args.validation_tasks, tokenizer)
    progress["weights"] = progress["weights"] or dict.fromkeys(train_tasks, 1.0)
    batches = Batches(text, train_tasks, args.seed)
    parameters = sum(p.numel() for p in model.parameters())
    say(args, f"{parameters} parameters, {len(text)} text tokens, at step {progress['step']}")
    forward = torch.compile(model, dynamic=False) if args.compile else model
    pool = ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,))
    recent = []
    budget = args.minutes * 60
    while progress["seconds"] < budget:
        begin = time.monotonic()
        set_learning_rate(optimizers, progress["step"], progress["seconds"] / budget)
        batch = batches.draw(progress["step"], progress["weights"])
        first, tasks = train_step(model, forward, optimizers, batch, args, pool)
        recent.append((first if has_text(progress["step"]) else math.nan, tasks))
        progress["tokens"] += sum(weight.numel() for _, weight in batch)
        progress["step"] += 1
        progress["seconds"] += time.monotonic() - begin
        step, minutes = progress["step"], progress["seconds"] / 60
        if step % 20 == 0:
            mean = np.nanmean(recent, axis=0)
            recent = []
            losses = f"text {mean[0]:.3f} tasks {mean[1]:.3f}"
            say(args, f"step {step} min {minutes:.1f} tokens {progress['tokens']} {losses}")
        if step % args.evaluate_every == 0 or progress["seconds"] >= budget:
            loss, exact = evaluate(model, heldout[:8200], validation_tasks, args.bf16)
            shown = " ".join(f"{name} {value:.2f}" for name, value in exact.items())
            say(args, f"held out at {step}: text {loss:.3f} {shown}")
            # A task that is not yet sure is drawn more often than one that is.
            progress["weights"] = {name: 0.3 + 1.5 * (1 - v) for name, v in exact.items()}
            save_checkpoint(args.work / "checkpoint.pt", model, optimizers, progress)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for what grows")
    parser.add_argument("--tasks", type=Path, required=True, help="train split of make_tasks.py")
    parser.add_argument("--validation-tasks", type=Path, required=True)
    parser.add_argument("--heldout-text", type=Path, help="write the held-out chapters there")
    parser.add_argument("--minutes", type=float, default=90.0, help="time spent in steps")
    parser.add_argument("--muon-lr", type=float, default=0.02)
    parser.add_argument("--adam-lr", type=float, default=3e-3)
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--task-share", type=float, default=0.4, help="share in a text step's loss")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bf16", action="store_true", help="bf16 autocast")
    parser.add_argument("--compile", action="store_true", help="torch.compile (needs a compiler)")
    parser.add_argument("--evaluate-every", type=int, default=100)
    parser.add_argument("--export", type=Path, help="write the model there and stop")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    tokenizer, text, heldout, chapters = prepare(args)
    if args.heldout_text:
        write_heldout_text(args.heldout_text, chapters)
    model = Llama()
    optimizers = make_optimizers(model, args)
    progress = load_checkpoint(args.work / "checkpoint.pt", model, optimizers)
    if args.export:
        export(model, tokenizer, args.export)
        minutes = progress["seconds"] / 60
        print(f"exported step {progress['step']}, {progress['tokens']} tokens, {minutes:.1f} min")
    else:
        train(args, model, optimizers, progress, tokenizer, text, heldout)


if __name__ == "__main__":
    main()
