"""Writes the committed seeds of the targets that read model files: seeds/<target>/<name>.

Run from anywhere: python3 tests/fuzz/make_seeds.py. Standard library only. Regression seeds (files
whose names begin with "found_") are inputs that a run once failed on; they are not made here.
"""

import argparse
import base64
import json
import pathlib
import struct

HERE = pathlib.Path(__file__).resolve().parent
TEMPLATES = HERE.parent / "coordinator" / "chat" / "templates"


def write(target, name, content):
    folder = HERE / "seeds" / target
    folder.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(data)


def whole(header, data, length=None):
    """A whole file, as it is."""
    length = len(header) if length is None else length
    return b"F" + struct.pack("<Q", length) + header + data


def around(header, data_bytes):
    """A header, around which the target makes a file with `data_bytes` bytes of data."""
    return b"H" + struct.pack("<H", data_bytes) + header


def entry(name, dtype, shape, begin, end):
    return {name: {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}}


def safetensors():
    good = {"__metadata__": {"format": "pt"}}
    good |= entry("a", "F32", [2, 3], 0, 24) | entry("b.weight", "BF16", [4], 24, 32)
    good |= entry("z", "I8", [], 32, 33) | entry("e", "F16", [0, 7], 33, 33)
    good = json.dumps(good).encode()
    write("safetensors", "good_file", whole(good, bytes(33)))
    write("safetensors", "good_header", around(good, 33))
    write("safetensors", "spaces", around(b" \n{} ", 0))
    write("safetensors", "length_zero", whole(b"", b""))
    write("safetensors", "length_past_end", whole(b"{}", b"", 99))
    write("safetensors", "length_all_ones", whole(b"{}", b"", 2**64 - 1))
    hole = entry("a", "U8", [1], 0, 1) | entry("b", "U8", [1], 2, 3)
    write("safetensors", "hole", around(json.dumps(hole).encode(), 3))
    product = entry("a", "F64", [2**32, 2**32], 0, 0)
    write("safetensors", "product_overflow", around(json.dumps(product).encode(), 0))
    offsets = entry("a", "U8", [1], 2**64 - 1, 2**64)
    write("safetensors", "offset_2_64", around(json.dumps(offsets).encode(), 1))
    empty = json.dumps(entry("a", "U8", [0], 0, 0)).encode()
    write("safetensors", "same_name", around(empty[:-1] + b"," + empty[1:], 0))
    sub_byte = entry("a", "F4", [3], 0, 1) | entry("b", "F6_E2M3", [4], 1, 4)
    write("safetensors", "sub_byte", around(json.dumps(sub_byte).encode(), 4))
    write("safetensors", "deep", around(b'{"a":{"shape":' + b"[" * 300 + b"]" * 300 + b"}}", 0))
    write("safetensors", "bad_utf8", around(b'{"\xff\xfe":{}}', 0))


def config():
    base = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 256,
        "intermediate_size": 688,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "vocab_size": 1300,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "eos_token_id": [1, 2],
        "bos_token_id": 0,
        "tie_word_embeddings": False,
    }

    def seed(name, changes, generation=None):
        text = json.dumps(base | changes)
        write("config", name, text if generation is None else text + "\0" + generation)

    llama3 = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    sizes = {
        "num_hidden_layers": 512,
        "hidden_size": 65536,
        "intermediate_size": 262144,
        "num_attention_heads": 1024,
        "num_key_value_heads": 1024,
        "head_dim": 256,
        "vocab_size": 1048576,
    }
    mistral = {"architectures": ["MistralForCausalLM"]}
    qwen2 = {"architectures": ["Qwen2ForCausalLM"]}
    window = {"use_sliding_window": True, "max_window_layers": 0, "sliding_window": 128}
    seed("llama", {})
    seed("llama3_rope", {"rope_theta": 500000.0, "rope_scaling": llama3})
    seed("linear_rope", {"rope_scaling": {"type": "linear", "factor": 2}})
    seed("rope_parameters", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}})
    seed("mistral", mistral | {"sliding_window": None})
    seed("mistral_window", mistral | {"sliding_window": 4096})
    seed("qwen2", qwen2 | window | {"layer_types": ["sliding_attention"] * 4})
    seed("model_type", {"architectures": None, "model_type": "qwen2"})
    seed("generation", {}, '{"eos_token_id":[3,4],"temperature":0.5}')
    seed("odd_heads", {"num_attention_heads": 24, "num_key_value_heads": 8, "head_dim": 128})
    seed("largest", sizes)
    seed("smallest", dict.fromkeys(sizes, 1) | {"hidden_size": 2, "head_dim": 2, "eos_token_id": 0})
    seed("gptq", {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}})
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
    seed("yarn", {"rope_scaling": yarn | {"mscale": 1.0, "mscale_all_dim": 0.5, "truncate": False}})
    seed("dynamic", {"rope_scaling": {"type": "dynamic", "factor": 2}, "attention_bias": True})
    seed("qwen3", {"architectures": ["Qwen3ForCausalLM"]})
    seed("qwen", {
        "architectures": ["QWenLMHeadModel"], "kv_channels": 32, "seq_length": 128, "no_bias": True,
        "rotary_emb_base": 10000, "use_dynamic_ntk": True, "use_logn_attn": True,
    })  # fmt: skip
    seed("internlm", {
        "architectures": ["InternLMForCausalLM"], "bias": True,
        "rotary": {"base": 10000, "type": "dynamic"},
    })  # fmt: skip
    seed("internlm2", {"architectures": ["InternLM2ForCausalLM"], "bias": False})
    seed("opt", {
        "architectures": ["OPTForCausalLM"], "ffn_dim": 1024, "word_embed_proj_dim": 256,
        "activation_function": "relu", "do_layer_norm_before": True,
    })  # fmt: skip
    gptq = {"quant_method": "gptq", "bits": 8, "group_size": -1, "desc_act": True, "sym": False}
    seed("gptq_act", {"quantization_config": gptq | {"checkpoint_format": "gptq_v2"}})
    awq = {"quant_method": "awq", "bits": 4, "group_size": 64, "zero_point": True}
    seed("awq", {"quantization_config": awq | {"version": "gemm"}})
    weights = {"num_bits": 4, "strategy": "group", "group_size": 32, "actorder": "group"}
    packed = {"quant_method": "compressed-tensors", "format": "pack-quantized"}
    groups = {"config_groups": {"group_0": {"weights": weights | {"symmetric": False}}}}
    seed("packed", {"quantization_config": packed | groups})
    int8 = {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True}
    inputs = {"num_bits": 8, "type": "int", "strategy": "tensor", "dynamic": False}
    of_both = {"targets": ["Linear"], "weights": int8, "input_activations": inputs}
    w8a8 = {"quant_method": "compressed-tensors", "format": "int-quantized",
            "config_groups": {"group_0": of_both}}
    seed("int8_static", {"quantization_config": w8a8})
    kv = {"num_bits": 8, "type": "int", "strategy": "tensor", "symmetric": True, "dynamic": False}
    kv_alone = {"quant_method": "compressed-tensors", "config_groups": {}, "kv_cache_scheme": kv}
    seed("kv_scheme", {"quantization_config": kv_alone})
    seed("smooth_quant", {
        "quantization_config": {"quant_method": "smooth_quant", "quant_dtype": "int8"},
    })  # fmt: skip
    seed("qoq", {"quantization_config": {"quant_method": "qoq", "bits": 4, "group_size": 128}})
    seed("layers_1e9", {"num_hidden_layers": 10**9})
    write("config", "nan", json.dumps(base).replace("512", "NaN"))
    write("config", "deep", '{"a":' + "[" * 200 + "]" * 200 + "}")
    write("config", "twice", '{"hidden_size":1,"hidden_size":2}')


def byte_alphabet():
    """GPT-2's spelling of the 256 bytes."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spelling = {byte: chr(byte) for byte in kept}
    for byte in range(256):
        if byte not in spelling:
            spelling[byte] = chr(256 + len(spelling) - len(kept))
    return spelling


def byte_level():
    """The vocabulary of 256 bytes and of some merges, and the merges."""
    spelling = byte_alphabet()
    vocab = {spelling[byte]: byte for byte in range(256)}
    merges = [["a", "a"], ["aa", "aa"], ["h", "e"], ["l", "l"], ["he", "ll"], ["hell", "o"]]
    for left, right in merges:
        vocab[left + right] = len(vocab)
    return vocab, merges


def tokenizer():
    vocab, merges = byte_level()
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}

    def base():
        byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
        return {
            "version": "1.0",
            "added_tokens": [
                {"id": len(vocab), "content": "<s>", "special": True} | special,
                {"id": len(vocab) + 1, "content": "<|x|>", "special": True} | special,
            ],
            "normalizer": None,
            "pre_tokenizer": byte_level | {"use_regex": True},
            "post_processor": byte_level | {"use_regex": True},
            "decoder": byte_level | {"use_regex": True},
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "ignore_merges": False,
                "vocab": dict(vocab),
                "merges": list(merges),
            },
        }

    def seed(name, change, config_json=None):
        root = base()
        change(root)
        text = json.dumps(root, ensure_ascii=False)
        write("tokenizer", name, text if config_json is None else text + "\0" + config_json)

    def split(pattern):
        step = {"type": "Split", "pattern": {"Regex": pattern}}
        plain = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
        steps = [step | {"behavior": "Isolated", "invert": False}, plain | {"use_regex": False}]
        return {"type": "Sequence", "pretokenizers": steps}

    words = r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    seed("gpt2", lambda r: None)
    seed("llama3", lambda r: r.update(pre_tokenizer=split(words)))
    seed("nfc", lambda r: r.update(normalizer={"type": "NFC"}))
    seed("backtracking", lambda r: r.update(pre_tokenizer=split("(a+)+b|(a|aa)+c|.")))
    seed("nested_groups", lambda r: r.update(pre_tokenizer=split("(" * 300 + "a" + ")" * 300)))
    seed("cyclic_merges", lambda r: r["model"]["merges"].extend([["aa", "a"], ["a", "aa"]]))
    seed("overlapping", lambda r: r["added_tokens"][1].update(content="<s>a"))
    seed("id_gap", lambda r: r["added_tokens"][1].update(id=9_000_000))
    seed("flags", lambda r: r["added_tokens"][0].update(lstrip=True, rstrip=True, single_word=True))
    seed("config", lambda r: None, '{"bos_token":"<s>","eos_token":{"content":"<|x|>"}}')
    special_tokens = {"<s>": {"id": "<s>", "ids": [len(vocab)], "tokens": ["<s>"]}}
    pieces = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    post = {"type": "TemplateProcessing", "single": pieces, "pair": pieces}
    seed("template", lambda r: r.update(post_processor=post | {"special_tokens": special_tokens}))


    text = {"▁": 0, "a": 1, "▁a": 2, "<unk>": 3, "<0x0A>": 4, "aa": 5, "▁aa": 6, "é": 7}
    added = [{"id": 8, "content": "<s>", "special": True} | special]
    back = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    decoder = [back, {"type": "ByteFallback"}, {"type": "Fuse"}, strip]
    model = {"vocab": text, "merges": ["a a", "▁ a", "▁ aa"], "byte_fallback": True}
    model |= {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True}
    prepend = [{"type": "Prepend", "prepend": "▁"}, back | {"pattern": {"String": " "}, "content": "▁"}]
    space = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    characters = {"added_tokens": added, "pre_tokenizer": None, "model": model}
    characters |= {"decoder": {"type": "Sequence", "decoders": decoder}}
    seed("llama2", lambda r: r.update(characters, normalizer={"type": "Sequence", "normalizers": prepend}))
    seed("mistral", lambda r: r.update(characters, pre_tokenizer=space))
    nfkc = [{"type": "NFKC"}, {"type": "Strip", "strip_left": True, "strip_right": True}]
    split = space | {"prepend_scheme": "always", "split": True}
    seed("metaspace", lambda r: r.update(
        characters, normalizer={"type": "Sequence", "normalizers": nfkc}, pre_tokenizer=split, decoder=split
    ))


def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    """A field of protobuf: a number, a float or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def tokenizer_model():
    def piece(text, score, kind):
        return field(1, field(1, text.encode()) + field(2, score) + field(3, kind))

    def seed(name, pieces, trainer, normalizer, config="", rest=b""):
        body = b"".join(piece(*p) for p in pieces) + field(2, trainer) + field(3, normalizer) + rest
        write("tokenizer_model", name, struct.pack("<H", len(config)) + config.encode() + body)

    control = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    words = ["▁", "a", "aa", "aaaa", "▁a", "l", "ll", "he", "h", "e", "▁he", "ö", "\0"]
    normal = [(text, -1.0 - i, 1) for i, text in enumerate(words)]
    fallback = [(f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)]
    bpe = field(3, 2)
    plain = field(3, 1) + field(4, 0)
    tight = field(3, 1) + field(4, 1)
    seed("unk", control + normal, bpe, plain)
    seed("bytes", control + normal + fallback, bpe + field(35, 1), plain)
    seed("user_defined", [*control, *normal, ("it's", 0.0, 4), ("▁▁", 0.0, 4)], bpe, tight)
    seed("unigram", control + normal, field(3, 1), plain)
    seed("nan", [*control, ("a", float("nan"), 1)], bpe, plain)
    seed("twice", [*control, ("a", -1.0, 1), ("a", -2.0, 1)], bpe, plain)
    added = '{"legacy":false,"added_tokens_decoder":{"3":{"content":"<|x|>","special":true}}}'
    seed("added", control + normal, bpe, plain, added)
    # "A" becomes "aa", a space disappears: units of darts-clone for two texts of one byte.
    units = [0] * 256
    for byte, value in ((0x41, 0), (0x20, 3)):
        units[byte] = 128 << 10 | 1 << 8 | byte
        units[byte ^ 128] = 0x80000000 | value
    blob = struct.pack("<I", 4 * len(units)) + struct.pack("<256I", *units) + b"aa\0\0"
    seed("charsmap", control + normal, bpe, tight + field(2, blob))
    seed("charsmap_out", control + normal, bpe, plain + field(2, blob[:400]))
    write("tokenizer_model", "length_all_ones", b"\0\0\x0a" + b"\xff" * 9 + b"\x01")
    write("tokenizer_model", "empty", b"\0\0")


def tiktoken():
    def lines(tokens):
        encoded = [base64.b64encode(token).decode() for token in tokens]
        return "".join(f"{token} {256 + i}\n" for i, token in enumerate(encoded))

    tokens = lines([b"aa", b"aaaa", b"he", b"ll", b"hell", b" w", b"\xc3\xb6", b"12", b"\n\n"])
    write("tiktoken", "small", "b" + tokens)
    write("tiktoken", "qwen", "q" + tokens)
    added = {"300": {"content": "<s>", "special": True, "lstrip": True}, "258": {"content": "<|x|>"}}
    config = {"added_tokens_decoder": added, "bos_token": "<s>", "add_bos_token": True}
    write("tiktoken", "added", "b" + tokens + "\0" + json.dumps(config))
    write("tiktoken", "whole", "w" + lines([b"a"]))
    write("tiktoken", "twice", "b" + tokens + "YWE= 400\n")
    write("tiktoken", "gap", "b" + tokens + "YWFh 100000\r\n\r\n")
    write("tiktoken", "far", "b" + tokens + "YWFh 1048576\n")
    write("tiktoken", "garbage", "b" + tokens + "YW=E 300\n")
    write("tiktoken", "in_the_way", "q" + tokens + "YWFh 151644\n")


def vocab_merges():
    vocab, merges = byte_level()
    vocab |= {"<s>": len(vocab), "</s>": len(vocab) + 1}
    lines = "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges)

    def seed(name, letter="g", vocab=vocab, lines=lines, config=None, added=None):
        parts = [letter + json.dumps(vocab), lines]
        parts += ["" if part is None else json.dumps(part) for part in (config, added)]
        write("vocab_merges", name, "\0".join(parts))

    seed("gpt2")
    seed("qwen2", "q")
    seed("unknown", " ")
    ends = {"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": True}}
    seed("named", " ", config=ends | {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": True})
    decoder = {str(len(vocab)): {"content": "<|x|>", "special": True, "rstrip": True}}
    seed("decoder", "q", config={"added_tokens_decoder": decoder})
    seed("added", added={"<|y|>": len(vocab) + 3, "a": 97})
    seed("no_version", lines=lines[14:].replace("\n", "\r\n\n"))
    seed("unknown_part", lines=lines + "zz z\n")
    seed("three_parts", lines=lines + "a a a\n")
    seed("gap", vocab=vocab | {"ab": 100000})
    seed("same_id", vocab=vocab | {"ab": 3})
    seed("no_bytes", vocab={"a": 0, "aa": 1}, lines="a a\n")
    seed("list", vocab=[1, 2])


def chat_template():
    for name in ["content_parts", "llama2", "llama31", "phi3", "qwen3", "tools_by_hand"]:
        write("chat_template", name, (TEMPLATES / f"{name}.jinja").read_bytes())
    loops = "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}"
    write("chat_template", "loop", loops)
    write(
        "chat_template",
        "growth",
        '{% set ns = namespace(s="xxxxxxxx") %}{% for i in range(99) %}'
        "{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
    )
    write("chat_template", "recursion", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}")
    write(
        "chat_template",
        "macro",
        "{% macro f(n, m=3) %}{% if n %}{{ f(n - 1) }}{% endif %}{{ m }}{% endmacro %}{{ f(30) }}",
    )
    write(
        "chat_template",
        "filters",
        '{{ messages|map(attribute="role")|list|join(", ")|upper|replace("E","\\x00")|trim }}'
        '{{ tools|selectattr("function.name","equalto","f")|list|length }}{{ tools|tojson(indent=2) }}'
        '{{ [3,1,2]|sort(reverse=true)|first }}{{ {"a":1}|dictsort|items }}{{ "%d"|format(3) }}'
        '{{ 7 // -2, 7 % -2, 2 ** 70, 1 / 3 }}{{ "abc"[::-1][1:-1] }}{{ strftime_now("%Y-%m-%d") }}',
    )
    write("chat_template", "raise", '{{ raise_exception("no " ~ messages[0].role) }}')
    write(
        "chat_template",
        "blocks",
        "{%- generation -%}{{ loop }}{%- endgeneration -%}{% raw %}{{ x }}{% endraw %}{# c #}"
        '{% set a %}b{% endset %}{{ a|default("x", true) }}{{ a is defined and a is not none }}',
    )


def main():
    argparse.ArgumentParser(description=__doc__).parse_args()
    for make in (safetensors, config, tokenizer, tokenizer_model, tiktoken, vocab_merges, chat_template):
        make()


if __name__ == "__main__":
    main()
