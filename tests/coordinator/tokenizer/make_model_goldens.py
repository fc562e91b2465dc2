#!/usr/bin/env python3
"""Makes the goldens of sentencepiece and tiktoken under goldens/, beside those of make_goldens.py.

Needs the Python packages sentencepiece and tiktoken (the goldens in the tree are of 0.2.3 and 0.14.0), and
goldens/texts.json and goldens/llama3.tokenizer.json, which make_goldens.py makes. A second run with the
same versions writes the same bytes.

  goldens/NAME.model.base64  a tokenizer.model of sentencepiece
  goldens/NAME.tiktoken      ranks
  goldens/NAME.json          {"encode": [[text index, add, parse, ids], ...],
                              "decode": [[ids, skip, text], ...]}
"""

import argparse
import base64
import contextlib
import io
import json
import pathlib
import random
import tempfile

import sentencepiece
import tiktoken

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
FOLDER = pathlib.Path(__file__).resolve().parent
CORPUS = (FOLDER / "corpus.txt").read_text().rstrip("\n").split("\n")


def corpus(rng):
    words = [word for line in CORPUS for word in line.split()]
    return CORPUS + [" ".join(rng.choices(words, k=rng.randint(3, 12))) for _ in range(400)]


def train_sentencepiece(**options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus(random.Random(1))),
        model_writer=model,
        model_type="bpe",
        num_threads=1,
        minloglevel=2,
        **options,
    )
    return model.getvalue()


def sp_llama():
    """As Llama-2 and Mistral: nothing is rewritten, a space in front, bytes for what has no piece."""
    return train_sentencepiece(
        vocab_size=1000,
        byte_fallback=True,
        character_coverage=0.98,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
    )


def sp_rules():
    """A charsmap, white space that goes, unk for what has no piece, symbols of both kinds."""
    rules = {
        "FF21": "41",
        "41 30A": "C5",
        "65 301": "E9",
        "65 301 323": "1EB9 301",
        "A0": "20",
        "3000": "20 20",
        "9": "20",
        "AD": "",
        "200B": "",
        "4ECA 5929": "64 61 79",
        "1F600": "3A 29",
    }
    # The model keeps the name of the file.
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        lines = "".join(f"{key}\t{value}\n" for key, value in rules.items())
        pathlib.Path("rules.tsv").write_text(lines)
        return train_sentencepiece(
            vocab_size=600,
            character_coverage=0.98,
            normalization_rule_tsv="rules.tsv",
            remove_extra_whitespaces=True,
            user_defined_symbols=["<tool_call>", "word", "\u2581a b", "caf", "<|endoftext|>"],
            control_symbols=["<|im_end|>"],
        )


def sp_plain():
    """No space in front, none that goes, bytes."""
    return train_sentencepiece(
        vocab_size=700,
        byte_fallback=True,
        character_coverage=0.98,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        user_defined_symbols=["  ", "\n"],
    )


def sentencepiece_goldens(model, texts, rng):
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    encode = []
    for index, text in enumerate(texts):
        encode.append([index, False, False, processor.encode(text)])
        if index % 10 == 0:
            encode.append([index, True, False, processor.encode(text, add_bos=True)])
    decode = []
    while len(decode) < 160:
        ids = [rng.randrange(processor.vocab_size()) for _ in range(rng.randint(0, 24))]
        if len(decode) % 3 == 0:
            ids = [rng.randrange(min(260, processor.vocab_size())) for _ in ids]
        ids = [i for i in ids if not processor.is_unknown(i)]
        decode.append([ids, True, processor.decode(ids)])
    return {"encode": encode, "decode": decode}


def ranks_of(spec):
    """The vocabulary of a byte-level tokenizer as the lines of a .tiktoken file."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    byte_of = {chr(byte): byte for byte in kept}
    shifted = [byte for byte in range(256) if byte not in kept]
    byte_of |= {chr(256 + i): byte for i, byte in enumerate(shifted)}
    tokens = sorted(spec["model"]["vocab"].items(), key=lambda item: item[1])
    ranks = [bytes(byte_of[c] for c in token) for token, _ in tokens]
    return "".join(f"{base64.b64encode(t).decode()} {i}\n" for i, t in enumerate(ranks))


def tiktoken_goldens(lines, texts, rng):
    """Under a name of no family: Llama-3's pattern, and no special tokens but those of the config."""
    ranks = {
        base64.b64decode(line.split()[0]): int(line.split()[1]) for line in lines.splitlines()
    }
    special = {"<|endoftext|>": len(ranks), "<|eot_id|>": len(ranks) + 3}
    encoding = tiktoken.Encoding(
        "golden", pat_str=LLAMA3, mergeable_ranks=ranks, special_tokens=special
    )
    encode = []
    for index, text in enumerate(texts):
        variants = [True, False] if "<" in text else [True]
        for parse in variants:
            allowed = "all" if parse else set()
            ids = encoding.encode(text, allowed_special=allowed, disallowed_special=())
            encode.append([index, False, parse, ids])
    decode = []
    known = [*range(len(ranks)), *special.values()]
    for _ in range(160):
        ids = [rng.choice(known) for _ in range(rng.randint(0, 24))]
        decode.append([ids, False, encoding.decode(ids)])
    return {"encode": encode, "decode": decode}


def write(path, text):
    path.write_text(text)
    print(f"{path.name}: {path.stat().st_size} bytes")


def write_json(path, value):
    write(path, json.dumps(value, separators=(",", ":")) + "\n")


def main():
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    out = FOLDER / "goldens"
    texts = json.loads((out / "texts.json").read_text())
    for make in (sp_llama, sp_rules, sp_plain):
        model = make()
        write(
            out / f"{make.__name__}.model.base64", base64.encodebytes(model).decode()
        )
        golden = sentencepiece_goldens(model, texts, random.Random(3))
        write_json(out / f"{make.__name__}.json", golden)
    lines = ranks_of(json.loads((out / "llama3.tokenizer.json").read_text()))
    write(out / "ranks.tiktoken", lines)
    write_json(out / "ranks.json", tiktoken_goldens(lines, texts, random.Random(3)))


if __name__ == "__main__":
    main()
