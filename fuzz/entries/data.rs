//! Any bytes as any type: no decoder panics, and what one accepts it writes and reads again.

use bytes::Bytes;
use grid_core::GridData;
use grid_core::data::{
    Affinity, Blob, BlobBuf, Decode, Encode, Json, RecordView, Serde, TypeTag, Uuid, path,
};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

#[derive(GridData, Default)]
pub(crate) struct Tree {
    #[grid(id = 1)]
    pub(crate) label: Option<String>,
    #[grid(id = 2)]
    pub(crate) children: Vec<Tree>,
    #[grid(id = 9)]
    pub(crate) choice: Choice,
}

#[derive(GridData, Default)]
pub(crate) enum Choice {
    #[default]
    #[grid(id = 1)]
    Nothing,
    #[grid(id = 2)]
    Pair(u16, f64),
    #[grid(id = 3)]
    Map {
        #[grid(id = 1)]
        of: BTreeMap<u8, Box<Tree>>,
    },
}

#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) enum Node {
    Leaf,
    Pair(Box<Node>, Option<Box<Node>>),
    Named { name: String, nodes: Vec<Node>, of: HashMap<u16, (i64, char)> },
}

/// The tags that the first byte chooses from.
const TAGS: [TypeTag; 36] = [
    TypeTag::NULL,
    TypeTag::I8,
    TypeTag::BOOL,
    TypeTag::CHAR16,
    TypeTag::I16,
    TypeTag::I32,
    TypeTag::I64,
    TypeTag::F32,
    TypeTag::F64,
    TypeTag::STRING,
    TypeTag::BYTES,
    TypeTag::BOOLS,
    TypeTag::I16S,
    TypeTag::I32S,
    TypeTag::I64S,
    TypeTag::F32S,
    TypeTag::F64S,
    TypeTag::STRINGS,
    TypeTag::UUID,
    TypeTag::JSON,
    TypeTag::UNIT,
    TypeTag::U8,
    TypeTag::U64,
    TypeTag::U128,
    TypeTag::CHAR,
    TypeTag::FIXED_BYTES,
    TypeTag::NONE,
    TypeTag::SOME,
    TypeTag::TUPLE,
    TypeTag::LIST,
    TypeTag::SET,
    TypeTag::MAP,
    TypeTag::DURATION,
    TypeTag::TIME,
    TypeTag::RECORD,
    TypeTag::SERDE,
];

/// The entry. The first byte chooses the tag, or says that four bytes of tag follow.
pub(crate) fn run(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let (tag, payload) = match (TAGS.get(usize::from(*first)), rest.split_first_chunk()) {
        (Some(tag), _) => (*tag, rest),
        (None, Some((tag, rest))) => (TypeTag(i32::from_be_bytes(*tag)), rest),
        (None, None) => return,
    };
    every_type(Blob::new(tag, payload));
}

/// Reads the blob as each type.
pub(crate) fn every_type(blob: Blob<'_>) {
    scalars(blob);
    strings(blob);
    composites(blob);
    check::<Tree>(blob);
    check::<Choice>(blob);
    check::<Vec<Tree>>(blob);
    check::<Serde<Node>>(blob);
    check::<Serde<Vec<()>>>(blob);
    check::<Serde<HashMap<String, Vec<u8>>>>(blob);
    check::<Json>(blob);
    check::<Json<Node>>(blob);
    check::<BlobBuf>(blob);
    let _ = Affinity::<String, u8>::decode_key(blob, Some(1));
    let _ = path(blob, &[2, 1]);
    if let Ok(record) = RecordView::of(blob) {
        for (id, _) in record.fields().flatten() {
            let _ = record.field(id);
        }
    }
}

fn scalars(blob: Blob<'_>) {
    check::<i8>(blob);
    check::<i16>(blob);
    check::<i32>(blob);
    check::<i64>(blob);
    check::<i128>(blob);
    check::<isize>(blob);
    check::<u8>(blob);
    check::<u16>(blob);
    check::<u32>(blob);
    check::<u64>(blob);
    check::<u128>(blob);
    check::<usize>(blob);
    check::<f32>(blob);
    check::<f64>(blob);
    check::<bool>(blob);
    check::<char>(blob);
    check::<()>(blob);
    check::<Uuid>(blob);
    check::<Duration>(blob);
    check::<SystemTime>(blob);
}

fn strings(blob: Blob<'_>) {
    check::<String>(blob);
    check::<Box<str>>(blob);
    check::<Arc<str>>(blob);
    check::<Cow<'static, str>>(blob);
    check::<Vec<u8>>(blob);
    check::<Box<[u8]>>(blob);
    check::<Arc<[u8]>>(blob);
    check::<Bytes>(blob);
    check::<[u8; 16]>(blob);
    check::<[i32; 3]>(blob);
    check::<Vec<bool>>(blob);
    check::<Vec<i16>>(blob);
    check::<Vec<i32>>(blob);
    check::<Vec<i64>>(blob);
    check::<Vec<f32>>(blob);
    check::<Vec<f64>>(blob);
    check::<Vec<String>>(blob);
}

fn composites(blob: Blob<'_>) {
    check::<Option<Option<u8>>>(blob);
    check::<(u8,)>(blob);
    check::<(String, Option<char>, [u8; 2])>(blob);
    check::<Vec<u64>>(blob);
    check::<Vec<Vec<()>>>(blob);
    check::<Vec<char>>(blob);
    check::<HashSet<u8>>(blob);
    check::<BTreeSet<String>>(blob);
    check::<HashMap<u16, String>>(blob);
    check::<BTreeMap<String, Vec<u32>>>(blob);
}

fn check<T: Encode + Decode>(blob: Blob<'_>) {
    let Ok(value) = blob.decode::<T>() else { return };
    let Ok(first) = BlobBuf::of(&value) else {
        assert_eq!(blob.tag, TypeTag::NULL, "{blob:?} is read but cannot be written");
        return;
    };
    match first.decode::<T>().and_then(|again| BlobBuf::of(&again)) {
        Ok(second) => assert_eq!(first, second),
        Err(error) => panic!("{first:?} was written but cannot be read: {error}"),
    }
}
