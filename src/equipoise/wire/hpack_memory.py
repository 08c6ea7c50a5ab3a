"""What HPACK remembers from one header block to the next: the dynamic tables, and literals that came before.

Owns: order, size and eviction of the entries, where an encoder finds a field, and the bounds of all of it.
Refuses to know: representations, and what belongs into a table.
"""

from typing import Final

from mypy_extensions import i64

from equipoise.wire.hpack_header import NEVER_INDEXED, STATIC, Header
from equipoise.wire.hpack_tables import corrupt

STATIC_ENTRIES: Final = 61
# A table gives back the room of evicted entries when there are as many of them.
EVICTED_ENTRIES: Final = 32
# What `Literals` holds: 0.5 MB at the very most. A longer literal is a token or a page's whole state, each time new.
REMEMBERED_LITERALS: Final = 512
REMEMBERED_OCTETS: Final = 128


class Table:
    """A dynamic table (RFC 7541 2.3.2): the newest entry has the lowest index, the oldest are evicted first.

    Attributes:
        limit: octets that it may have now.
        size: octets that it has (4.1).
        entries: oldest first; those before `base` are evicted.
        first: how many entries came before the first of `entries`.
    """

    def __init__(self, limit: i64) -> None:
        self.limit = limit
        self.size: i64 = 0
        self.entries: list[Header] = []
        self.base: i64 = 0
        self.first: i64 = 0

    def at(self, index: i64) -> Header:
        """The entry of a dynamic index, which begins behind the static table.

        Raises:
            HpackError: there is none.
        """
        place: i64 = len(self.entries) + STATIC_ENTRIES - index
        if place < self.base:
            raise corrupt("index beyond the dynamic table")
        return self.entries[place]

    def insert(self, field: Header) -> bool:
        """Adds an entry after evicting what it displaces. False: it is larger than the table, which is empty now."""
        room = self.limit - field.size
        if self.size > room:
            self.evict(room)
            if room < 0:
                return False
        self.entries.append(field)
        self.size += field.size
        return True

    def resize(self, limit: i64) -> None:
        """Sets what it may have, evicting what is over it."""
        self.limit = limit
        self.evict(limit)

    def evict(self, room: i64) -> None:
        """Takes the oldest entries out until no more than `room` octets are left."""
        entries = self.entries
        base = self.base
        end: i64 = len(entries)
        while self.size > room and base < end:
            field = entries[base]
            self.size -= field.size
            self.leaves(field, self.first + base)
            # The list shrinks later; what left must not be held by it until then.
            entries[base] = STATIC[0]
            base += 1
        if base >= EVICTED_ENTRIES and base + base >= end:
            del entries[: int(base)]
            self.first += base
            base = 0
        self.base = base

    def leaves(self, field: Header, number: i64) -> None:
        """An entry is evicted; `number` came before it since the connection began."""


class EncoderTable(Table):
    """A dynamic table that knows where a field is.

    Attributes:
        numbers: `key` of a field or its bare name -> how many entries came before the latest such one. A valid name has
            a colon at its very beginning at most, so that no two of these are the same octets.
    """

    def __init__(self, limit: i64) -> None:
        super().__init__(limit)
        self.numbers: dict[bytes, int] = {}

    def index_of(self, key: bytes) -> i64:
        """The index of the latest entry with this key or name; 0 when there is none."""
        number: i64 = self.numbers.get(key, -1)
        if number < 0:
            return 0
        return STATIC_ENTRIES + self.first + len(self.entries) - number

    def find(self, key: bytes) -> Header | None:
        """The latest entry with this key."""
        number: i64 = self.numbers.get(key, -1)
        if number < 0:
            return None
        return self.entries[number - self.first]

    def add(self, field: Header) -> None:
        """Adds a field that has a key and fits."""
        if self.insert(field):
            number = int(self.first + len(self.entries) - 1)
            self.numbers[field.key] = number
            if field.about.index == 0:
                self.numbers[field.name] = number

    def leaves(self, field: Header, number: i64) -> None:
        """See `Table.leaves`."""
        self._forget(field.key, number)
        if field.about.index == 0:
            self._forget(field.name, number)

    def _forget(self, key: bytes, number: i64) -> None:
        if i64(self.numbers.get(key, -1)) == number:
            del self.numbers[key]


class Literals:
    """Fields that came as literals before, by their octets on the wire.

    Many clients never index `:path`, and each new connection begins with the same literals: they cost neither Huffman
    decoding nor a new object again. Serves all the connections of a worker; bounded, in two generations: what was not
    asked for during one of them is forgotten. Secrets stay out of it.
    """

    def __init__(self, limit: int = REMEMBERED_LITERALS) -> None:
        """Starts empty.

        Args:
            limit: how many fields are kept at most, twice over.
        """
        self._limit: i64 = limit
        self._young: dict[bytes, Header] = {}
        self._old: dict[bytes, Header] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def find(self, literal: bytes) -> Header | None:
        """The field that these octets stand for, if they came lately."""
        found = self._young.get(literal)
        if found is None:
            found = self._old.get(literal)
            if found is not None:
                self.keep(literal, found)
        return found

    def keep(self, literal: bytes, field: Header) -> None:
        """Remembers a field, unless it is a secret."""
        if field.flags & NEVER_INDEXED:
            return
        if len(self._young) >= self._limit:
            self._old = self._young
            self._young = {}
        self._young[literal] = field
