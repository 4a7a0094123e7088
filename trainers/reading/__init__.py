"""From a person's file or folder to a table, whatever the format, in bounded memory.

Owns telling formats apart, reading each, the rows that cannot be read, and the shapes that training data comes in.
Refuses to choose columns for training, to judge rows that can be read, and to run anything that stands in a file.

`read_table` is the entry. Every record of a file is either a row of the table or set aside with its number, line and
reason; where no honest reading is left, the file is refused with a `DataError` that says where and what to do.
A data set of the Hugging Face hub is a folder once `fetch_dataset` has brought it here.

To add a format, write one small module with `read(path, sink)`: call `sink.start(columns)` once where the file has a
header, then `sink.add(cells, line, raw)` or `sink.add_record(record, line, raw)` for every record and
`sink.set_aside(line, reason, raw)` for every record that cannot be read. Then add a `Format` to the registry in
`formats`, with a test of the first bytes by which it is known and the suffixes that it goes by.
"""

from trainers.reading.formats import SUFFIXES, read_table
from trainers.reading.hub import fetch_dataset, is_dataset_id
from trainers.reading.shapes import ComposedKind, Shape, detect_shape, pair, rejected
from trainers.reading.splits import given_split, split_column
from trainers.reading.table import SetAside, Table, table_of

__all__ = [
    "SUFFIXES",
    "ComposedKind",
    "SetAside",
    "Shape",
    "Table",
    "detect_shape",
    "fetch_dataset",
    "given_split",
    "is_dataset_id",
    "pair",
    "read_table",
    "rejected",
    "split_column",
    "table_of",
]
