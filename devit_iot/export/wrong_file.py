"""Files that people give as weights and that are none: what they are, and what to do."""

_AGAIN = "download it again, as a file"
_KINDS: tuple[tuple[bytes, str], ...] = (
    (
        b"version https://git-lfs",
        "is a pointer of Git LFS, not the weights themselves; run 'git lfs pull' where it lies, or "
        + _AGAIN,
    ),
    (b"<!doctype html", f"is a web page, perhaps one that asks to sign in; {_AGAIN}"),
    (b"<html", f"is a web page, perhaps one that asks to sign in; {_AGAIN}"),
    (b"<?xml", f"is an XML file, perhaps a server's error; {_AGAIN}"),
    (b"\x1f\x8b", "is packed by gzip; unpack it"),
    (b"BZh", "is packed by bzip2; unpack it"),
    (b"7z\xbc\xaf", "is packed by 7-Zip; unpack it"),
    (b"\x89hdf", "is a file of HDF5, as Keras writes; only weights of PyTorch are read"),
    (b"gguf", "is a file of GGUF; give the safetensors file that it was made of"),
    (b"\x93numpy", "is an array of numpy; give a safetensors file or a state_dict of PyTorch"),
)
_TFLITE, _TFLITE_AT = b"TFL3", 4
_ONNX = (b"\x08\x03\x12", b"\x08\x04\x12", b"\x08\x06\x12", b"\x08\x07\x12", b"\x08\x08\x12",
         b"\x08\x09\x12", b"\x08\x0a\x12")  # fmt: skip


def what_it_is(head: bytes, size: int) -> str | None:
    """What a file is, and what to do about it; None if it may hold weights.

    Args:
        head: the file's first bytes.
        size: the file's size, bytes.
    """
    if size == 0:
        return "is empty; copy or download it again"
    start = head.lstrip().lower()
    for magic, text in _KINDS:
        if head.startswith(magic) or start.startswith(magic):
            return text
    if head[_TFLITE_AT : _TFLITE_AT + len(_TFLITE)] == _TFLITE:
        return "is a network of TensorFlow Lite; give the PyTorch weights that it was made of"
    if head.startswith(_ONNX):
        return "is a network of ONNX; give the PyTorch weights that it was made of"
    if start.startswith((b"{", b"[")):
        return "is a text file of JSON; give the weights beside it, or their folder"
    return None
