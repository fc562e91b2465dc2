#!/usr/bin/env python3
"""Makes the files under goldens/: small tokenizers and what Hugging Face gives for them.

Needs the Python package `tokenizers` (the goldens in the tree are of 0.23.3). The C++ tests read the
files and never run this. Everything is seeded: a second run with the same version writes the same
bytes. make_model_goldens.py makes those of sentencepiece and tiktoken.

  goldens/texts.json          the texts, shared by all tokenizers
  goldens/NAME.tokenizer.json a tokenizer
  goldens/NAME.json           {"encode": [[text index, add, parse, ids], ...],
                               "decode": [[ids, skip, text], ...]}
"""

import argparse
import json
import pathlib
import random

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")

FOLDER = pathlib.Path(__file__).parent
# Sentences of our own, some per script, so that merges exist in each.
CORPUS = (FOLDER / "corpus.txt").read_text().rstrip("\n").split("\n")


def corpus(rng, of=CORPUS):
    lines = list(of)
    words = [w for line in of for w in line.split()]
    for _ in range(400):
        lines.append(" ".join(rng.choice(words) for _ in range(rng.randint(3, 12))))
    return lines


# fmt: off
TEXTS = [
    "", " ", "  ", "   ", "a", " a", "a ", "  a  ", "\n", "\r\n", "\r", "\t", "\n\n\n", " \n",
    "\n ", " \n \n  x", "\t\tx", "x\r\ny\r\n\r\nz", "x \r\n y", "x  \n\n  y   ", "trailing   ",
    "   leading", "tab\tbetween\t\ttabs", "mixed \t \n\t x", "a\u00a0b", "\u00a0\u00a0x",
    "a\u2003b\u3000c", "\u2028x\u2029", "\u0085x", "a\u200bb", "a\ufeffb",
    "\u180ex \u180e\u180e y", "a\u1680b", "\x0bx\x0c", "x\x1cy\x1d\x1e\x1f",
    "don't DON'T Don'T we've WE'VE I'm I'M they'll THEY'LL it's IT'S you'd YOU'D we're WE'RE",
    "'s't're", "''s", "' s", "x'sy", "'\u017f and '\u017fx", "can\u2019t",
    "'S 'T 'RE 'Ve 'M 'lL 'D", "'l 'r 'v", "1", "12", "123", "1234", "12345", "123456789012345",
    "1,234,567.89", "3.14", "x1y22z333", " 1 22 333 4444", "\u0661\u0662\u0663\u0664",
    "\u0967\u0968\u0969\u096a", "\u00bd\u00b2\u2460\u2167", "\u3007\u4e00\u4e8c", "1\u20e3",
    "2024-01-31T23:59:59Z", "Hello, world!", "Hello,world!How are you?", "foo_bar_baz",
    "FooBarBaz", "foo.bar(baz)[0]->qux;", "if (x != 0) {\n\treturn x / 2.5e-3;  // half\n}\n",
    '{"key": [1, 2, {"a": null}]}', "http://a.b/c?d=e&f=%20#g", "!!!", "...", "!?!?\n\n",
    " !\n\n\n", "-- --- ----", "~`@#$%^&*()_+-=[]{}|\\:;\"'<>,.?/",
    "\u2014\u2026\u00ab\u00bb\u201c\u201d", "caf\u00e9", "cafe\u0301", "e\u0301\u0323",
    "e\u0323\u0301", "\u1e69 s\u0323\u0307 s\u0307\u0323", "\u212b \u00c5 A\u030a",
    "\u2126 \u03a9", "\u1100\u1161\u11a8 \uac01", "\u0958 \u0915\u093c", "\u0344",
    "\u0f73\u0f75\u0f81", "\u2adc \u2add\u0338", "\ufb01 \ufb06", "o\u0302\u0301 \u1ed1", "\u0301",
    "\u0301\u0301\u0301", " \u0301x", "a\u0315\u0300\u05ae\u0062",
    "\u0b47\u0b3e \u0b47\u0300\u0b3e", "\u1f82 \u03b1\u0313\u0300\u0345", "\U0001d15e",
    "\u0374\u037e\u0387", "\uf900\ufa0e",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e",
    "\u0995\u09cd\u09b7\u09cb \u0995\u09c7\u09be",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01",
    "\u0627\u0644\u0633\u0651\u064e\u0644\u0627\u0645\u064f \u0639\u064e\u0644\u064e\u064a\u0652\u0643\u064f\u0645",
    "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd",
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "\u6771\u4eac\u3068\u4eac\u90fd\u3078\u884c\u304d\u307e\u3057\u305f\u3002",
    "\u4eca\u5929\u5929\u6c14\u5f88\u597d\uff0c\u6211\u4eec\u53bb\u5317\u4eac\u3002",
    "\u304b\u3099 \u304c", "\uff21\uff22\uff23\uff11\uff12\uff13", "\U00020000\U0002f800",
    "\uc11c\ubc84\ub294 \ubaa8\ub4e0 \uc694\uccad\uc5d0", "\u1112\u1161\u11ab\u1100\u1173\u11af",
    "\U0001f600", "\U0001f44d\U0001f3fd",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\u2764\ufe0f",
    "\U0001f1ea\U0001f1fa", "x\U0001f600y 1\U0001f6002", "\x00", "a\x00b", "\x01\x02\x7f",
    "\x1b[31mred\x1b[0m", "\ufffd\ufffe\uffff", "\U0010ffff\U000e0001", "<|endoftext|>",
    "a<|endoftext|>b", "<|endoftext|><|endoftext|>", " <|endoftext|> ", "<|endoftext|",
    "<<|endoftext|>>", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "<|begin_of_text|>x<|eot_id|>", "<|eot_id|>\n\n", "<|eot|>", '<tool_call>{"a": 1}</tool_call>',
    "<tool_call", "<tool_call><tool_call>", "e\u0301<|endoftext|>\u0301", "'s<|endoftext|>'s",
    "a <mask> b", "a  <mask>  b <mask>", "<mask><mask>", " \n<mask>\t x", "<right>  \n x",
    "<right> <mask> x", "a word b", "words word wordy word", "word",
    "_word word_ -word- word1 \u00e9word", "caf\u00e9_token x", "cafe\u0301_token x",
    "<|f\u00e9e|> <|f\u00e9\u4e2d|>", "<a><ab><abc><abcd><ab<abc", "a" * 300, "ab" * 200,
    " " * 200, "\n" * 100, "\u0301" * 60, "x" + "\u0323\u0301" * 40, "\u4eca\u5929" * 60,
    "supercalifragilistic" * 20, "0" * 100, "the server" * 30, "\U0001f600" * 40,
    (" \n" * 50) + "x", ("x " * 60), "!" * 150,
]
# fmt: on

# fmt: off
ATOMS = list("ab eZ'019.,!-\n\t\r ") + [
    "  ", "the", " server", "'s", "'LL", "\r\n", "\u00e9", "e\u0301", "\u0323", "\u0301", "\u00a0",
    "\u3000", "\u180e", "\u4eca", "\u6771\u4eac", "\u0928\u092e", "\u094d", "\u0633\u064e",
    "\uc11c", "\u1112\u1161", "\U0001f600", "\u200d", "\ufe0f", "\x00", "\x7f", "\u0661", "\u00bd",
    "<|endoftext|>", "<|eot_id|>", "<tool_call>", "<mask>", "word", "\u017f", "\u2028", "_",
]
# fmt: on


def all_texts(rng):
    texts = list(TEXTS)
    for _ in range(160):
        texts.append("".join(rng.choice(ATOMS) for _ in range(rng.randint(1, 30))))
    return texts


def train(pre_tokenizer, vocab_size, normalizer=None, special_tokens=()):
    tokenizer = Tokenizer(models.BPE())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=list(special_tokens),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(random.Random(1)), trainer)
    return tokenizer


def split(pattern):
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def gpt2():
    """As GPT-2: the special token in the vocabulary, merges in the old spelling "a b"."""
    tokenizer = train(
        pre_tokenizers.ByteLevel(add_prefix_space=False), 1200, special_tokens=["<|endoftext|>"]
    )
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    spec = json.loads(tokenizer.to_str())
    spec["model"]["merges"] = [" ".join(pair) for pair in spec["model"]["merges"]]
    return spec


def llama3():
    """As Llama-3: ignore_merges. Merges are missing here, so that it makes a difference."""
    tokenizer = train(split(LLAMA3), 1300)
    names = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|endoftext|>"]
    tokenizer.add_special_tokens(names)
    bos = tokenizer.token_to_id("<|begin_of_text|>")
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single="<|begin_of_text|> $A",
                pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1",
                special_tokens=[("<|begin_of_text|>", bos)],
            ),
        ]
    )
    spec = json.loads(tokenizer.to_str())
    spec["model"]["ignore_merges"] = True
    merges = spec["model"]["merges"]
    spec["model"]["merges"] = [merge for rank, merge in enumerate(merges) if rank % 7 != 6]
    return spec


def qwen2():
    """As Qwen2: NFC, one digit per token, some added tokens that are not special."""
    tokenizer = train(split(QWEN2), 1300, normalizer=normalizers.NFC())
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False, special=False)])
    tokenizer.add_tokens([AddedToken("</tool_call>", normalized=False, special=False)])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return json.loads(tokenizer.to_str())


def flags():
    """Every flag of added tokens, nested contents, a prefix space, Digits, suffix in the template."""
    tokenizer = train(
        pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True),
            ]
        ),
        700,
        normalizer=normalizers.Sequence([normalizers.NFC()]),
    )
    tokenizer.add_special_tokens(["<|endoftext|>", "<|eot_id|>"])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    tokenizer.add_special_tokens([AddedToken("<right>", rstrip=True, normalized=False)])
    tokenizer.add_tokens([AddedToken("word", single_word=True, normalized=True)])
    tokenizer.add_tokens([AddedToken("cafe\u0301_token", normalized=True)])
    tokenizer.add_tokens([AddedToken("<a>"), AddedToken("<ab"), AddedToken("<abc>")])
    tokenizer.add_special_tokens(["<|f\u00e9e|>", "<|f\u00e9\u4e2d|>"])
    eot = tokenizer.token_to_id("<|eot_id|>")
    end = tokenizer.token_to_id("<|endoftext|>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A <|eot_id|>",
        special_tokens=[("<|endoftext|>", end), ("<|eot_id|>", eot)],
    )
    return json.loads(tokenizer.to_str())


PIECE_SPACE = "\u2581"


def text_bpe(vocab_size, fallback, special_tokens, unk="<unk>"):
    """A model of characters, trained on words that begin with PIECE_SPACE as sentencepiece's do."""
    tokenizer = Tokenizer(models.BPE(unk_token=unk, fuse_unk=True, byte_fallback=fallback))
    tokenizer.normalizer = normalizers.Replace(" ", PIECE_SPACE)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(PIECE_SPACE, "merged_with_next")
    names = list(special_tokens) + ([f"<0x{byte:02X}>" for byte in range(256)] if fallback else [])
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=names, show_progress=False
    )
    # Thai and emoji stay without tokens.
    tokenizer.train_from_iterator(corpus(random.Random(1), CORPUS[:-2]), trainer)
    spec = json.loads(tokenizer.to_str())
    spec["added_tokens"] = [
        token for token in spec["added_tokens"] if token["content"] in special_tokens
    ]
    spec["normalizer"] = None
    spec["pre_tokenizer"] = None
    return spec


def strip_decoder(*stages):
    replace = {"type": "Replace", "pattern": {"String": PIECE_SPACE}, "content": " "}
    return {"type": "Sequence", "decoders": [replace, *stages]}


FALLBACK = {"type": "ByteFallback"}
FUSE = {"type": "Fuse"}
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}


def bos_template(bos, bos_id):
    return {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": bos, "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [
            {"Sequence": {"id": "A", "type_id": 0}},
            {"Sequence": {"id": "B", "type_id": 1}},
        ],
        "special_tokens": {bos: {"id": bos, "ids": [bos_id], "tokens": [bos]}},
    }


def with_added(spec, tokens):
    """Adds tokens to a spec; what they are is said by keyword arguments of AddedToken."""
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    for token in tokens:
        add = tokenizer.add_special_tokens if token.special else tokenizer.add_tokens
        add([token])
    return json.loads(tokenizer.to_str())


def llama2():
    """As Llama-2, InternLM and old Mistral: the normalizer prepends, fallback to bytes, merges "a b"."""
    spec = text_bpe(1100, True, ["<unk>", "<s>", "</s>"])
    spec["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": PIECE_SPACE},
            {"type": "Replace", "pattern": {"String": " "}, "content": PIECE_SPACE},
        ],
    }
    spec["decoder"] = strip_decoder(FALLBACK, FUSE, STRIP)
    spec["post_processor"] = bos_template("<s>", 1)
    spec["model"]["merges"] = [" ".join(pair) for pair in spec["model"]["merges"]]
    return with_added(
        spec,
        [
            AddedToken("<|endoftext|>", special=True, normalized=False),
            AddedToken("word", single_word=True, normalized=False),
            AddedToken("<mask>", lstrip=True, special=True, normalized=False),
            AddedToken("<right>", rstrip=True, special=True, normalized=False),
            AddedToken("<tool_call>", normalized=True),
        ],
    )


def mistral3():
    """As Mistral v3 and Llama-2 without `legacy`: Metaspace before the first piece alone, unsplit."""
    spec = text_bpe(1100, True, ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"])
    space = {"type": "Metaspace", "replacement": PIECE_SPACE, "prepend_scheme": "first"}
    spec["pre_tokenizer"] = space | {"split": False}
    spec["decoder"] = strip_decoder(FALLBACK, FUSE, STRIP)
    spec["post_processor"] = bos_template("<s>", 1)
    return with_added(
        spec,
        [
            AddedToken("<|endoftext|>", special=True, normalized=False),
            AddedToken("server", normalized=False),
            AddedToken("<mask>", normalized=True, lstrip=True),
        ],
    )


def yi():
    """As Yi: Replace alone, nothing before the text and nothing taken from it."""
    spec = text_bpe(900, True, ["<unk>", "<|startoftext|>", "<|endoftext|>", "<|im_end|>"])
    spec["normalizer"] = {
        "type": "Replace",
        "pattern": {"String": " "},
        "content": PIECE_SPACE,
    }
    spec["decoder"] = strip_decoder(FALLBACK, FUSE)
    return with_added(spec, [AddedToken("  ", normalized=False), AddedToken("\n\n", normalized=True)])


def metaspace():
    """Metaspace in front of every piece, split into words; its own decoder; no bytes, NFKC, Strip."""
    spec = text_bpe(800, False, ["<unk>", "<s>"])
    space = {"type": "Metaspace", "replacement": PIECE_SPACE, "prepend_scheme": "always"}
    spec["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            {"type": "NFKC"},
            {"type": "Strip", "strip_left": True, "strip_right": True},
        ],
    }
    spec["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [{"type": "Digits", "individual_digits": True}, space | {"split": True}],
    }
    spec["decoder"] = space | {"split": True}
    spec["model"]["ignore_merges"] = True
    return with_added(
        spec,
        [
            AddedToken("<|endoftext|>", special=True, normalized=True),
            AddedToken("cafe\u0301_token", normalized=True),
            AddedToken("word", single_word=True, normalized=True, rstrip=True),
        ],
    )


def unk():
    """No bytes, an unk for each unknown character, a few tokens of bytes that are never used whole."""
    spec = text_bpe(500, False, ["<unk>", "<s>"])
    spec["model"]["fuse_unk"] = False
    spec["model"]["byte_fallback"] = True
    size = len(spec["model"]["vocab"])
    for index, byte in enumerate([0x0A, 0xC3, 0xA9, 0xE2]):
        spec["model"]["vocab"][f"<0x{byte:02X}>"] = size + index
    space = {"type": "Metaspace", "replacement": PIECE_SPACE, "prepend_scheme": "never"}
    spec["pre_tokenizer"] = space | {"split": False}
    spec["decoder"] = strip_decoder(FALLBACK)
    return with_added(spec, [AddedToken("<|endoftext|>", special=True, normalized=False)])


def encodings(tokenizer, texts):
    rows = []
    for index, text in enumerate(texts):
        variants = [(False, True)]
        if index % 10 == 0:
            variants.append((True, True))
        if "<" in text or "word" in text:
            variants.append((False, False))
        for add, parse in variants:
            tokenizer.encode_special_tokens = not parse
            ids = tokenizer.encode(text, add_special_tokens=add).ids
            rows.append([index, add, parse, ids])
    return rows


def decodings(tokenizer, rng):
    """Random ids, many of them halves of characters, some of no token."""
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    rows = []
    for case in range(80):
        low, high = [(0, size), (0, 260), (size - 12, size + 3)][case % 3]
        ids = [rng.randrange(low, high) for _ in range(rng.randint(0, 24))]
        for skip in (False, True):
            rows.append([ids, skip, tokenizer.decode(ids, skip_special_tokens=skip)])
    return rows


def write(path, value):
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n")
    print(f"{path.name}: {path.stat().st_size} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=pathlib.Path, default=FOLDER / "goldens"
    )
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    texts = all_texts(random.Random(2))
    write(out / "texts.json", texts)
    for make in (gpt2, llama3, qwen2, flags, llama2, mistral3, yi, metaspace, unk):
        spec = make()
        name = make.__name__
        write(out / f"{name}.tokenizer.json", spec)
        tokenizer = Tokenizer.from_str(json.dumps(spec))
        golden = {
            "encode": encodings(tokenizer, texts),
            "decode": decodings(tokenizer, random.Random(3)),
        }
        write(out / f"{name}.json", golden)


if __name__ == "__main__":
    main()
