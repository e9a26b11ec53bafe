from __future__ import annotations

import json

import pytest

from dwebsocket.websocket.parsing import MAX_DEPTH, from_json


def nested(depth: int, open_: str = "[", close: str = "]") -> str:
    return open_ * depth + "1" + close * depth


class TestDepth:
    @pytest.mark.parametrize("shape", [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
    @pytest.mark.parametrize("form", [str, str.encode])
    def test_is_limited(self, shape, form):
        levels = MAX_DEPTH // len(shape[1])
        assert from_json(form(nested(levels, *shape)))
        for deeper in (levels + 1, 9_900, 150_000):
            with pytest.raises(ValueError, match="nested deeper than 128 levels"):
                from_json(form(nested(deeper, *shape)))

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32-be"])
    def test_is_limited_in_every_encoding_of_json(self, encoding):
        # Bytes of these would be brackets and quotes if they were taken one by one.
        around = '["\u2200\u5b00\u2222", {}]'
        assert from_json(around.format(nested(100)).encode(encoding))
        with pytest.raises(ValueError, match="nested"):
            from_json(('["\u2200\u5b00\u2222",' + nested(500) + "]").encode(encoding))

    def test_brackets_in_strings_do_not_count(self):
        for text in ("[" * 5000, '\\"' + "[{" * 5000, "\\", "\ud83d" + "[" * 500):
            data = {"a": [text, {"b" + text: text}]}
            assert from_json(json.dumps(data)) == data
            assert from_json(json.dumps(data, ensure_ascii=True).encode()) == data

    def test_a_string_hides_no_depth(self):
        for start in ('["\\\\",', '["\\"",', '["[\\\\\\"",'):
            with pytest.raises(ValueError, match="nested"):
                from_json(start + nested(200) + "]")

    def test_many_brackets_side_by_side_are_fine(self):
        data = [[[]] for _ in range(10_000)]
        assert from_json(json.dumps(data)) == data

    def test_what_is_no_json_is_still_no_json(self):
        for text in ("[" * 100, "", "[[" * 60 + '"', b"\xff", "nope"):
            with pytest.raises(ValueError, match="."):
                from_json(text)


def test_options_are_those_of_json():
    assert from_json("1.5", parse_float=str) == "1.5"
