"""Reading the text corpus: documents per source, and the split into training and held-out text."""

import hashlib
import lzma
from pathlib import Path

# Share of each source's documents that is never trained on. Books are few and long, so by count.
HELD_OUT_SHARE = 0.05
HELD_OUT_BOOKS = 7
EVALUATION_ONLY = {"wikitext2_valid"}
# Sources that are one long file: the last part is held out.
UNDIVIDED = {"tinyshakespeare"}


def read_documents(path):
    """Documents of one corpus file (.txt or .txt.xz), which a line with a form feed separates."""
    raw = Path(path).read_bytes()
    if str(path).endswith(".xz"):
        raw = lzma.decompress(raw)
    text = raw.decode("utf-8", errors="replace")
    return [doc.strip() + "\n" for doc in text.split("\n\f") if doc.strip()]


def source_name(path):
    return Path(path).name.split(".txt")[0]


def _rank(document):
    return hashlib.sha256(document[:2000].encode()).hexdigest()


def split_source(name, documents):
    """Returns (training documents, held-out documents), the same for every call."""
    if name in EVALUATION_ONLY:
        return [], documents
    if name in UNDIVIDED:
        text = documents[0]
        cut = text.index("\n", int(len(text) * (1 - HELD_OUT_SHARE))) + 1
        return [text[:cut]], [text[cut:]]
    ranked = sorted(range(len(documents)), key=lambda i: _rank(documents[i]))
    count = max(1, round(len(documents) * HELD_OUT_SHARE))
    if name == "pg_classics":
        count = HELD_OUT_BOOKS
    held = set(ranked[:count])
    train = [d for i, d in enumerate(documents) if i not in held]
    return train, [d for i, d in enumerate(documents) if i in held]


def load_corpus(folder):
    """{source: (training documents, held-out documents)} for every file of the folder."""
    found = {}
    for path in sorted(Path(folder).glob("*.txt*")):
        name = source_name(path)
        found[name] = split_source(name, read_documents(path))
    if not found:
        raise SystemExit(f"no .txt or .txt.xz files in {folder}")
    return found
