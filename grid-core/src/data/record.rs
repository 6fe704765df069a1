//! Records: the self-describing layout of `#[derive(GridData)]`.
//!
//! ```text
//! u64 fingerprint | u8 flags | u16 variant (enums) | u16 count | count rows, ids ascending | data
//! row: u16 id | i16 tag | u16 or u32 end of the field's payload in data
//! ```
//! A tag that no `i16` can hold is 0 in its row, and the field's payload begins with it.

use super::depth::Level;
use super::item::Bytes;
use super::{Blob, DataError, DataResult, Decode, Encode, Schema, TypeTag};
use crate::error::Kind;

/// Ends are `u32`: the data is longer than a `u16` can say.
const WIDE: u8 = 1;
/// A variant id follows the flags.
const VARIANT: u8 = 2;

const FIXED_BYTES: usize = 8 + 1 + 2;
const NARROW_ROW_BYTES: usize = 6;
const WIDE_ROW_BYTES: usize = 8;

/// Appends a record of `N` fields; they must come in ascending order of ids. What the derive macro
/// calls.
#[doc(hidden)]
#[derive(Debug)]
pub struct RecordWriter<'a, const N: usize> {
    out: &'a mut Vec<u8>,
    start: usize,
    /// Where the data begins while its length is not yet known (that is, after narrow rows).
    data: usize,
    fingerprint: u64,
    variant: Option<u16>,
    rows: [(u16, i16, usize); N],
    written: usize,
    _level: Level,
}

impl<'a, const N: usize> RecordWriter<'a, N> {
    const COUNT: u16 = {
        assert!(N <= u16::MAX as usize);
        N as u16
    };

    #[inline]
    pub fn new(out: &'a mut Vec<u8>, schema: &Schema, variant: Option<u16>) -> DataResult<Self> {
        let start = out.len();
        let head = FIXED_BYTES + if variant.is_some() { 2 } else { 0 } + N * NARROW_ROW_BYTES;
        out.resize(start + head, 0);
        Ok(RecordWriter {
            out,
            start,
            data: start + head,
            fingerprint: schema.fingerprint,
            variant,
            rows: [(0, 0, 0); N],
            written: 0,
            _level: Level::enter()?,
        })
    }

    #[inline]
    pub fn put<T: Encode + ?Sized>(&mut self, id: u16, value: &T) -> DataResult<()> {
        let tag = value.tag();
        if tag == TypeTag::NULL {
            return Err(DataError::new(Kind::Invalid, "a field with the tag of null"));
        }
        let short = i16::try_from(tag.0).unwrap_or_else(|_| {
            self.out.extend_from_slice(&tag.0.to_be_bytes());
            0
        });
        value.encode(self.out)?;
        self.rows[self.written] = (id, short, self.out.len() - self.data);
        self.written += 1;
        Ok(())
    }

    #[inline]
    pub fn finish(self) -> DataResult<()> {
        debug_assert!(self.written == N && self.rows.is_sorted_by(|a, b| a.0 < b.0));
        let len = self.out.len() - self.data;
        let wide = len > usize::from(u16::MAX);
        if wide {
            u32::try_from(len).map_err(|_| DataError::too_large("a record of over 4 GiB"))?;
            let added = N * (WIDE_ROW_BYTES - NARROW_ROW_BYTES);
            self.out.resize(self.out.len() + added, 0);
            self.out.copy_within(self.data..self.data + len, self.data + added);
        }
        let mut head = Head { bytes: &mut self.out[self.start..] };
        head.put(self.fingerprint.to_be_bytes());
        let variant = if self.variant.is_some() { VARIANT } else { 0 };
        head.put([variant | if wide { WIDE } else { 0 }]);
        if let Some(variant) = self.variant {
            head.put(variant.to_be_bytes());
        }
        head.put(Self::COUNT.to_be_bytes());
        for (id, tag, end) in self.rows {
            head.put(id.to_be_bytes());
            head.put(tag.to_be_bytes());
            #[allow(clippy::cast_possible_truncation)] // `wide` is about just that
            if wide {
                head.put((end as u32).to_be_bytes());
            } else {
                head.put((end as u16).to_be_bytes());
            }
        }
        Ok(())
    }
}

/// The head of a record being filled in, front to back.
struct Head<'a> {
    bytes: &'a mut [u8],
}

impl Head<'_> {
    #[inline]
    fn put<const N: usize>(&mut self, value: [u8; N]) {
        let (head, rest) = std::mem::take(&mut self.bytes).split_at_mut(N);
        head.copy_from_slice(&value);
        self.bytes = rest;
    }
}

/// A record seen without its type.
///
/// ```
/// use grid_core::{GridData, data::{BlobBuf, RecordView, Uuid}};
///
/// #[derive(GridData)]
/// struct Person {
///     #[grid(id = 1)]
///     name: String,
///     #[grid(id = 2)]
///     friends: Vec<Uuid>,
/// }
/// let blob = BlobBuf::of(&Person { name: "Ada".into(), friends: vec![] })?;
/// let person = RecordView::of(blob.as_blob())?;
/// let ids: Vec<u16> = person.fields().map(|field| field.map(|(id, _)| id)).collect::<Result<_, _>>()?;
/// assert_eq!(ids, [1, 2]);
/// assert_eq!(person.field(1)?, Some(BlobBuf::of("Ada")?.as_blob()));
/// # Ok::<(), grid_core::data::DataError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    fingerprint: u64,
    variant: Option<u16>,
    rows: Rows<'a>,
}

impl<'a> RecordView<'a> {
    /// The record of this blob; another type of blob is [`Kind::WrongType`].
    #[inline]
    pub fn of(blob: Blob<'a>) -> DataResult<Self> {
        if blob.tag != TypeTag::RECORD {
            return Err(DataError::wrong_type(TypeTag::RECORD, blob.tag));
        }
        let mut bytes = Bytes(blob.payload);
        let fingerprint = u64::from_be_bytes(bytes.chunk()?);
        let [flags] = bytes.chunk()?;
        if flags & !(WIDE | VARIANT) != 0 {
            return Err(DataError::malformed(format!("a record with flags {flags:#x}")));
        }
        let variant =
            if flags & VARIANT == 0 { None } else { Some(u16::from_be_bytes(bytes.chunk()?)) };
        let count = usize::from(u16::from_be_bytes(bytes.chunk()?));
        let wide = flags & WIDE != 0;
        let table = bytes.take(count * if wide { WIDE_ROW_BYTES } else { NARROW_ROW_BYTES })?;
        if wide != (bytes.0.len() > usize::from(u16::MAX)) {
            return Err(DataError::malformed("a record with rows of the wrong width"));
        }
        let rows = Rows { table, data: bytes.0, wide, start: 0, last: -1 };
        Ok(RecordView { fingerprint, variant, rows })
    }

    /// The [`Schema::fingerprint`] of the type that was written.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The id of the variant, if the type is an enum.
    #[must_use]
    pub fn variant(&self) -> Option<u16> {
        self.variant
    }

    /// The field with this id.
    #[inline]
    pub fn field(&self, id: u16) -> DataResult<Option<Blob<'a>>> {
        let mut rows = self.rows;
        let mut start = 0;
        while let Some((found, tag, end)) = rows.row() {
            if found >= id {
                return if found == id { rows.blob(tag, start, end).map(Some) } else { Ok(None) };
            }
            start = end;
        }
        Ok(None)
    }

    /// All fields, by ascending id. Ends after the first error.
    pub fn fields(&self) -> impl Iterator<Item = DataResult<(u16, Blob<'a>)>> + use<'a> {
        let mut rows = Some(self.rows);
        std::iter::from_fn(move || {
            let next = rows.as_mut()?.next().transpose();
            if !matches!(next, Some(Ok(_))) {
                rows = None;
            }
            next
        })
    }
}

/// The rows of a record from some point on.
#[derive(Clone, Copy, Debug)]
struct Rows<'a> {
    table: &'a [u8],
    data: &'a [u8],
    wide: bool,
    /// Where the next payload starts.
    start: usize,
    /// The id of the row before, -1 if there is none.
    last: i32,
}

/// Id, tag, end of the payload.
type Row = (u16, i16, usize);

impl<'a> Rows<'a> {
    /// The next row, unchecked.
    #[inline]
    fn row(&mut self) -> Option<Row> {
        if self.wide {
            let ([a, b, c, d, end @ ..], rest) =
                self.table.split_first_chunk::<WIDE_ROW_BYTES>()?;
            self.table = rest;
            let end = u32::from_be_bytes(*end) as usize;
            Some((u16::from_be_bytes([*a, *b]), i16::from_be_bytes([*c, *d]), end))
        } else {
            let ([a, b, c, d, end @ ..], rest) =
                self.table.split_first_chunk::<NARROW_ROW_BYTES>()?;
            self.table = rest;
            let end = usize::from(u16::from_be_bytes(*end));
            Some((u16::from_be_bytes([*a, *b]), i16::from_be_bytes([*c, *d]), end))
        }
    }

    #[inline]
    fn blob(&self, tag: i16, start: usize, end: usize) -> DataResult<Blob<'a>> {
        let Some(mut payload) = self.data.get(start..end) else {
            return Err(DataError::malformed("a field of a record lies outside of it"));
        };
        let tag = if tag == 0 { long_tag(&mut payload)? } else { TypeTag(tag.into()) };
        Ok(Blob { tag, payload })
    }

    #[inline]
    fn next(&mut self) -> DataResult<Option<(u16, Blob<'a>)>> {
        let Some((id, tag, end)) = self.row() else {
            if self.start != self.data.len() {
                return Err(DataError::malformed("a record with bytes behind its last field"));
            }
            return Ok(None);
        };
        if i32::from(id) <= self.last {
            return Err(DataError::malformed("the fields of a record do not ascend"));
        }
        let blob = self.blob(tag, self.start, end)?;
        self.last = id.into();
        self.start = end;
        Ok(Some((id, blob)))
    }
}

/// Splits off the tag in front of a payload.
#[cold]
fn long_tag(payload: &mut &[u8]) -> DataResult<TypeTag> {
    let mut bytes = Bytes(payload);
    let tag = bytes.tag()?;
    *payload = bytes.0;
    if i16::try_from(tag.0).is_ok() {
        return Err(DataError::malformed("a field's tag in the longer of its two forms"));
    }
    Ok(tag)
}

/// The field `id` of a record, without knowing its type. `None` if the record has no such field, or
/// the blob is an encoded `None`.
///
/// ```
/// use grid_core::{GridData, data::{self, BlobBuf}};
///
/// #[derive(GridData)]
/// struct Point(i32, i32);
///
/// let blob = BlobBuf::of(&Point(3, 4))?;
/// assert_eq!(data::field(blob.as_blob(), 2)?.map(|y| y.decode::<i32>()), Some(Ok(4)));
/// assert_eq!(data::field(blob.as_blob(), 3)?, None);
/// # Ok::<(), data::DataError>(())
/// ```
pub fn field(blob: Blob<'_>, id: u16) -> DataResult<Option<Blob<'_>>> {
    if blob.tag == TypeTag::NONE {
        return Ok(None);
    }
    RecordView::of(blob)?.field(id)
}

/// The field at the end of a path of field ids: `[3, 1]` is field 1 of field 3. The empty path is
/// the blob itself.
pub fn path<'a>(blob: Blob<'a>, ids: &[u16]) -> DataResult<Option<Blob<'a>>> {
    let mut at = blob;
    for id in ids {
        match field(at, *id)? {
            Some(blob) => at = blob,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

/// Takes a record apart; fields must be asked for in ascending order of ids. What the derive macro
/// calls.
#[doc(hidden)]
#[derive(Debug)]
pub struct RecordReader<'a> {
    rows: Rows<'a>,
    ahead: Option<(u16, Blob<'a>)>,
    schema: &'static Schema,
    variant: Option<u16>,
    _level: Level,
}

impl<'a> RecordReader<'a> {
    #[inline]
    pub fn open(blob: Blob<'a>, schema: &'static Schema) -> DataResult<Self> {
        if blob.tag != TypeTag::RECORD {
            return Err(DataError::wrong_type(schema.name, blob.tag));
        }
        let view = RecordView::of(blob)?;
        if view.fingerprint != schema.fingerprint {
            return Err(other_record(schema, view.fingerprint));
        }
        if view.variant.is_some() == schema.variants.is_empty() {
            return Err(DataError::new(
                Kind::WrongType,
                format!("{}: an enum in one place is a struct in the other", schema.name),
            ));
        }
        let variant = view.variant;
        Ok(RecordReader { rows: view.rows, ahead: None, schema, variant, _level: Level::enter()? })
    }

    /// The id of the variant, 0 for a struct.
    #[inline]
    #[must_use]
    pub fn variant(&self) -> u16 {
        self.variant.unwrap_or(0)
    }

    #[cold]
    #[must_use]
    pub fn unknown_variant(&self) -> DataError {
        let detail = format!("{}: no variant has the id {}", self.schema.name, self.variant());
        DataError::new(Kind::WrongType, detail)
    }

    #[inline]
    fn next(&mut self, id: u16) -> DataResult<Option<Blob<'a>>> {
        loop {
            if self.ahead.is_none() {
                self.ahead = self.rows.next()?;
            }
            match self.ahead {
                Some((found, _)) if found < id => self.ahead = None,
                Some((found, blob)) if found == id => {
                    self.ahead = None;
                    return Ok(Some(blob));
                }
                _ => return Ok(None),
            }
        }
    }

    /// The field, or what `default` makes if the record has none.
    #[inline]
    pub fn or_else<T: Decode>(
        &mut self,
        id: u16,
        name: &str,
        default: impl FnOnce() -> T,
    ) -> DataResult<T> {
        match self.next(id)? {
            Some(blob) => T::decode(blob).map_err(|error| error.in_field(self.schema.name, name)),
            None => Ok(default()),
        }
    }

    /// The field, which the record must have.
    #[inline]
    pub fn required<T: Decode>(&mut self, id: u16, name: &str) -> DataResult<T> {
        match self.next(id)? {
            Some(blob) => T::decode(blob).map_err(|error| error.in_field(self.schema.name, name)),
            None => Err(DataError::new(Kind::WrongType, format!("the field (id {id}) is missing"))
                .in_field(self.schema.name, name)),
        }
    }

    /// Checks the fields that nobody asked for.
    #[inline]
    pub fn finish(mut self) -> DataResult<()> {
        while self.rows.next()?.is_some() {}
        Ok(())
    }
}

#[cold]
fn other_record(schema: &Schema, found: u64) -> DataError {
    let Schema { name, fingerprint, .. } = schema;
    let detail = format!("expected {name} ({fingerprint:016x}), found another type ({found:016x})");
    DataError::new(Kind::WrongType, detail)
}
