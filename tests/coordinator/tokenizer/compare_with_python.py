#!/usr/bin/env python3
"""Compares this tokenizer with the Python package of each kind of file, on random strings.

Needs the packages tokenizers, sentencepiece and tiktoken, and the program tests/tokenizer_ids of a
build. Vocabularies: real ones where a package ships them (dashscope: qwen.tiktoken; llama-models:
tokenizer.model of Llama-3; mistral-common: tokenizer.model of Mistral), or one trained here.

  compare_with_python.py PROGRAM FILE          a tokenizer.model, a *.tiktoken or a tokenizer.json
  compare_with_python.py PROGRAM --train KIND  byte-level | characters | sentencepiece, 150,000 entries

Prints the number of strings and of those that differ, those with characters that this Python's
Unicode does not know apart (the packages' tables are newer than ours). Exits 1 if others differ, 77 if
a package is missing.
"""

import argparse
import base64
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unicodedata

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
CODE = """def encode(self, text):\n    if not text:\n\treturn []  # nothing\n
for (int i = 0; i < n; ++i) {\n  x[i] += 0x7fff & (y[i] << 3);\n}\r\n
SELECT a.id, COUNT(*) FROM t AS a WHERE a.name LIKE '%x_%' GROUP BY 1;
#include <vector>\nstd::vector<std::pair<int, float>> v{{1, 2.5e-3f}};
{"key": [1, 2, {"a": null, "b": "\\u00e9\\n"}], "other": true}
$ git commit -m "fix: it's done" && ls -la | grep '\\.md$'
""".split("\n")
WORDS = (
    "the of and to in is that for it was on are with as his they at be this have from or one had by "
    "word server request answers doesn't we've they'll I'm DON'T naïve café Straße русский сервер "
    "запрос ответ ελληνικά δεδομένα 服务器 回答 请求 今天天气 サーバー 東京 京都 답변 서버 한국어 "
    "السلام عليكم خادم שלום שרת नमस्ते दुनिया สวัสดี ชาวโลก 12 345 6789 3.14159 1,000,000"
).split()
ADDED = ["<s>", "</s>", "<unk>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "[INST]", "[/INST]", "<0x0A>",
         "<|extra_7|>", "<|eot_id|>", "<|begin_of_text|>", "<tool_call>", "\u2581", "\u2581\u2581"]
RUNS = ["a", " ", "\n", "\t", "\r\n", "0", "!", "'", "\u0301", "\u0323\u0301", "今", "\U0001f600", "\u200d", "ab", "\u2581", "\x00"]


def a_character(rng):
    kind = rng.random()
    if kind < 0.45:
        return chr(rng.randrange(0x20, 0x7F))
    if kind < 0.6:
        return chr(rng.randrange(0xA0, 0x800))
    if kind < 0.75:
        return chr(rng.randrange(0x800, 0xD800))
    if kind < 0.8:
        return chr(rng.randrange(0xE000, 0x10000))
    if kind < 0.9:
        return chr(rng.randrange(0x10000, 0x32000))
    if kind < 0.93:
        return chr(rng.randrange(0x32000, 0x110000))
    return chr(rng.randrange(0x20))


def is_known(text):
    return all(unicodedata.category(c) != "Cn" for c in text)


def a_part(rng):
    kind = rng.randrange(10)
    if kind < 3:
        return " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 8)))
    if kind < 5:
        part = "".join(a_character(rng) for _ in range(rng.randint(1, 24)))
        return part if is_known(part) or rng.random() < 0.05 else "".join(filter(is_known, part))
    if kind == 5:
        return rng.choice(CODE)
    if kind == 6:
        return rng.choice(RUNS) * rng.choice([1, 2, 3, 5, 17, 60, 200])
    if kind == 7:
        return "".join(rng.choice(" \t\n\r\u00a0\u3000\u2003\u200b\u180e\x0b\x85") for _ in range(rng.randint(1, 6)))
    if kind == 8:
        word = rng.choice(WORDS)
        cut = rng.randint(0, len(word))
        return word[:cut] + rng.choice(ADDED) + word[cut:]
    return rng.choice(WORDS)[: rng.randint(1, 4)] + rng.choice(WORDS)


def strings(count, seed):
    rng = random.Random(seed)
    for _ in range(count):
        yield rng.choice(["", " "]).join(a_part(rng) for _ in range(rng.randint(1, 6)))


class SentencePieceReference:
    """Special tokens are not parsed: sentencepiece never makes them from a text."""

    def __init__(self, model):
        import sentencepiece

        self.model = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.parse = (False,)
        self.vocab_size = self.model.vocab_size()

    def encode(self, text, add, parse):
        return [self.model.bos_id()] * add + self.model.encode(text)

    def decode(self, ids, skip):
        return self.model.decode(ids)

    def can_decode(self, ids):
        return not any(self.model.is_unknown(i) or self.model.is_control(i) for i in ids)


class TiktokenReference:
    def __init__(self, data, special, pattern, nfc):
        import tiktoken

        ranks = {}
        for line in data.splitlines():
            if line:
                token, rank = line.split()
                ranks[base64.b64decode(token)] = int(rank)
        special = special(len(ranks))
        self.encoding = tiktoken.Encoding("x", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)
        self.special = set(special.values())
        self.nfc = nfc
        self.bos = [] if nfc else [len(ranks)]
        self.parse = (False, True)
        self.vocab_size = self.encoding.n_vocab

    def encode(self, text, add, parse):
        text = unicodedata.normalize("NFC", text) if self.nfc else text
        allowed = "all" if parse else set()
        return self.bos * add + self.encoding.encode(text, allowed_special=allowed, disallowed_special=())

    def decode(self, ids, skip):
        return self.encoding.decode([i for i in ids if not skip or i not in self.special])

    def can_decode(self, ids):
        return True


class TokenizersReference:
    def __init__(self, spec):
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_str(spec)
        self.parse = (False, True)
        self.vocab_size = self.tokenizer.get_vocab_size()

    def encode(self, text, add, parse):
        self.tokenizer.encode_special_tokens = not parse
        return self.tokenizer.encode(text, add_special_tokens=add).ids

    def decode(self, ids, skip):
        return self.tokenizer.decode(ids, skip_special_tokens=skip)

    def can_decode(self, ids):
        return True


def qwen_special(_):
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|extra_{i}|>" for i in range(205))]
    return {name: 151643 + i for i, name in enumerate(names)}


def llama3_special(ranks):
    names = [
        "<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>",
        "<|finetune_right_pad_id|>", "<|reserved_special_token_2|>", "<|start_header_id|>", "<|end_header_id|>",
        "<|eom_id|>", "<|eot_id|>", "<|python_tag|>", *(f"<|reserved_special_token_{i}|>" for i in range(3, 248)),
    ]  # fmt: skip
    return {name: ranks + i for i, name in enumerate(names)}


def reference_of(path):
    data = path.read_bytes()
    if path.suffix == ".json":
        return TokenizersReference(data.decode())
    if path.name == "qwen.tiktoken":
        return TiktokenReference(data, qwen_special, QWEN, True)
    if data.split(b"\n", 1)[0].split(b" ")[-1].isdigit():
        return TiktokenReference(data, llama3_special, LLAMA3, False)
    return SentencePieceReference(data)


def syllables(rng, count):
    """Made-up words in several scripts, often enough the same ones that merges are worth while."""
    ranges = [(0x61, 0x7B)] * 6 + [(0x3B1, 0x3CA), (0x430, 0x450), (0x5D0, 0x5EB), (0x905, 0x93A), (0x4E00, 0x5600),
              (0xAC00, 0xB400), (0x3041, 0x3097), (0x1F600, 0x1F640)]  # fmt: skip
    return ["".join(chr(rng.randrange(*r)) for _ in range(rng.randint(1, 3))) for r in rng.choices(ranges, k=count)]


def corpus(seed, lines, different=150_000):
    rng = random.Random(seed)
    parts = syllables(rng, 3000)
    words = ["".join(rng.choices(parts, k=rng.randint(1, 4))) for _ in range(different)] + WORDS * 20
    for _ in range(lines):
        line = " ".join(rng.choices(words, k=12))
        yield line if rng.random() < 0.8 else line + rng.choice(CODE)


def train(kind, entries, folder):
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    if kind == "sentencepiece":
        import sentencepiece

        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=corpus(1, 200_000, different=500_000), model_prefix=str(folder / "tokenizer"), vocab_size=entries,
            model_type="bpe", byte_fallback=True, character_coverage=0.9995, split_digits=True, num_threads=1,
            normalization_rule_name="identity", remove_extra_whitespaces=False, max_sentence_length=100_000,
            user_defined_symbols=["<|im_start|>", "  ", "[INST]"], minloglevel=2)  # fmt: skip
        return folder / "tokenizer.model"
    names = ["<unk>", "<s>", "</s>"]
    if kind == "byte-level":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.normalizer = normalizers.NFC()
        split = pre_tokenizers.Split(Regex(QWEN), "isolated")
        plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, plain])
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
        tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
        tokenizer.pre_tokenizer = pre_tokenizers.Split("\u2581", "merged_with_next")
        names += [f"<0x{byte:02X}>" for byte in range(256)]
        alphabet = []
    trainer = trainers.BpeTrainer(
        vocab_size=entries, initial_alphabet=sorted(alphabet), special_tokens=names, show_progress=False
    )
    tokenizer.train_from_iterator(corpus(1, 400_000), trainer)
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False), AddedToken("[INST]", normalized=True)])
    spec = json.loads(tokenizer.to_str())
    if kind == "characters":
        spec["added_tokens"] = [t for t in spec["added_tokens"] if not t["content"].startswith("<0x")]
        replace = {"pattern": {"String": " "}, "content": "\u2581"}
        spec["normalizer"] = {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "\u2581"}, {"type": "Replace", **replace}]}  # fmt: skip
        spec["pre_tokenizer"] = None
        back = {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}
        strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
        spec["decoder"] = {"type": "Sequence", "decoders": [
            back, {"type": "ByteFallback"}, {"type": "Fuse"}, strip]}  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(spec))
    return folder / "tokenizer.json"


def run(program, folder, jobs):
    lines = "".join(json.dumps(job) + "\n" for job in jobs)
    done = subprocess.run([program, folder], input=lines.encode(), stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        sys.exit(f"{program} exited with {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def compare(program, folder, reference, count, seed):
    rng = random.Random(seed + 1)
    encode = [
        {"text": text, "add": rng.random() < 0.1, "parse": rng.choice(reference.parse)} for text in strings(count, seed)
    ]
    expected = [reference.encode(job["text"], job["add"], job["parse"]) for job in encode]
    found = run(program, folder, encode)
    report("encode", encode, expected, found, [is_known(job["text"]) for job in encode])
    bad = sum(e != f and is_known(job["text"]) for job, e, f in zip(encode, expected, found, strict=True))
    # What texts became, and random ids.
    ids = [e for e in expected if reference.can_decode(e)]
    random_ids = [[rng.randrange(reference.vocab_size) for _ in range(rng.randint(1, 20))] for _ in range(count // 10)]
    ids += [row for row in random_ids if reference.can_decode(row)]
    decode = [{"ids": row, "skip": rng.random() < 0.5} for row in ids]
    expected = [reference.decode(job["ids"], job["skip"]) for job in decode]
    found = run(program, folder, decode)
    report("decode", decode, expected, found, [True] * len(decode))
    return bad + sum(e != f for e, f in zip(expected, found, strict=True))


def report(what, jobs, expected, found, known):
    differ = [i for i, (e, f) in enumerate(zip(expected, found, strict=True)) if e != f]
    odd = sum(not known[i] for i in differ)
    print(f"{what}: {len(jobs)} strings, {len(differ) - odd} differ", end="")
    print(f"; {known.count(False)} with unknown characters, {odd} differ" if False in known else "")
    for i in [i for i in differ if known[i]][:5]:
        print(" ", json.dumps(jobs[i]), "\n    expected", json.dumps(expected[i]), "\n    found   ", json.dumps(found[i]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("file", nargs="?", type=pathlib.Path)
    parser.add_argument("--train", choices=["byte-level", "characters", "sentencepiece"])
    parser.add_argument("--entries", type=int, default=150_000)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if arguments.train:
            path = train(arguments.train, arguments.entries, folder)
        else:
            path = folder / ("tokenizer.model" if ".model" in arguments.file.name else arguments.file.name)
            shutil.copy(arguments.file, path)
        reference = reference_of(path)
        print(f"{arguments.train or arguments.file.name}: {reference.vocab_size} entries")
        if compare(arguments.program, folder, reference, arguments.count, arguments.seed):
            sys.exit(1)


if __name__ == "__main__":
    try:
        main()
    except ModuleNotFoundError as error:
        print(f"skipped: {error}")
        sys.exit(77)
