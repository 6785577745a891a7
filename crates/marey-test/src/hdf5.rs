//! Writes HDF5 as h5py lays it out by default: superblock 0, a root group with a symbol table, attributes of text and
//! numbers, columns of `i64`, and one stack of `f32` pictures in deflated chunks.
//!
//! After the "HDF5 File Format Specification Version 1.1": section numbers below are its. Addresses are from the start of
//! the file; every object starts at a multiple of 8. Text is of fixed length here, of variable length in h5py.

use std::io::{self, Write as _};

use flate2::{Compression, write::ZlibEncoder};

/// An address or length that is not there.
const UNDEFINED: u64 = u64::MAX;
/// Half the children that a node of a group's tree has room for (superblock).
const GROUP_K: usize = 16;
/// Half the names of a symbol table node (superblock).
const LEAF_K: usize = 4;
/// Half the children of a tree of chunks; 32 in files of this superblock.
const CHUNK_K: usize = 32;

/// The value of an attribute of the file.
pub(crate) enum Attribute<'a> {
    Text(&'a str),
    Number(i64),
}

/// What a file holds.
pub(crate) struct Contents<'a> {
    /// Attributes of the root group.
    pub(crate) attributes: &'a [(&'a str, Attribute<'a>)],
    /// Datasets of one dimension.
    pub(crate) columns: &'a [(&'a str, &'a [i64])],
    /// The dataset of pictures.
    pub(crate) pictures: Pictures<'a>,
}

/// A dataset `[n, h, w]`.
pub(crate) struct Pictures<'a> {
    pub(crate) name: &'a str,
    pub(crate) values: &'a [f32],
    pub(crate) size: [usize; 2],
    /// Pictures of a chunk.
    pub(crate) chunk: usize,
    /// Deflate's level.
    pub(crate) level: u32,
}

/// The bytes of a file.
///
/// # Errors
/// When there are more chunks or datasets than one node holds (64 and 8).
pub(crate) fn file(contents: &Contents<'_>) -> io::Result<Vec<u8>> {
    let mut out = vec![0; 96];
    let mut entries = vec![(contents.pictures.name, contents.pictures.write(&mut out)?)];
    for (name, values) in contents.columns {
        entries.push((name, column(&mut out, values)));
    }
    entries.sort_unstable();
    if entries.len() > 2 * LEAF_K {
        return Err(too_many("datasets", 2 * LEAF_K));
    }
    let [tree, heap] = group(&mut out, &entries);
    let mut messages = vec![message(0x11, [tree, heap].map(u64::to_le_bytes).concat())];
    for (name, value) in contents.attributes {
        messages.push(attribute(name, value));
    }
    let root = put(&mut out, &header(&messages));
    let superblock = superblock(root, [tree, heap], out.len() as u64);
    out[..96].copy_from_slice(&superblock);
    Ok(out)
}

fn too_many(what: &str, most: usize) -> io::Error {
    let problem = format!("{what}: a file has at most {most}");
    io::Error::new(io::ErrorKind::InvalidInput, problem)
}

/// II.A, version 0, with the root group's entry in the symbol table.
fn superblock(root: u64, [tree, heap]: [u64; 2], end: u64) -> Vec<u8> {
    let mut block = b"\x89HDF\r\n\x1a\n".to_vec();
    block.extend([0, 0, 0, 0, 0, 8, 8, 0]);
    block.extend(
        [LEAF_K as u16, GROUP_K as u16]
            .map(u16::to_le_bytes)
            .concat(),
    );
    block.extend(0u32.to_le_bytes());
    block.extend(
        [0, UNDEFINED, end, UNDEFINED, 0, root]
            .map(u64::to_le_bytes)
            .concat(),
    );
    block.extend(1u64.to_le_bytes());
    block.extend([tree, heap].map(u64::to_le_bytes).concat());
    block
}

/// Appends an object, and gives its address.
fn put(out: &mut Vec<u8>, object: &[u8]) -> u64 {
    pad(out);
    let at = out.len() as u64;
    out.extend_from_slice(object);
    at
}

/// Fills up to a multiple of 8.
fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(8), 0);
}

/// III.A to III.D: the tree, the local heap and the one symbol table node of a group of sorted `entries`.
fn group(out: &mut Vec<u8>, entries: &[(&str, u64)]) -> [u64; 2] {
    let mut names = vec![0; 8];
    let mut node = b"SNOD\x01\x00".to_vec();
    node.extend((entries.len() as u16).to_le_bytes());
    let mut last = 0;
    for (name, address) in entries {
        last = names.len() as u64;
        names.extend(name.as_bytes());
        names.push(0);
        pad(&mut names);
        node.extend([last, *address, 0, 0, 0].map(u64::to_le_bytes).concat());
    }
    node.resize(8 + 2 * LEAF_K * 40, 0);
    let names_at = put(out, &names);
    let mut heap = b"HEAP\x00\x00\x00\x00".to_vec();
    // 1 says that no place in it is free.
    heap.extend(
        [names.len() as u64, 1, names_at]
            .map(u64::to_le_bytes)
            .concat(),
    );
    let heap = put(out, &heap);
    let node = put(out, &node);
    let mut tree = tree_head(0, 1);
    tree.extend([0, node, last].map(u64::to_le_bytes).concat());
    tree.resize(24 + 2 * GROUP_K * 8 + (2 * GROUP_K + 1) * 8, 0);
    [put(out, &tree), heap]
}

/// III.A.1: a leaf without neighbours, of group names (0) or chunks (1).
fn tree_head(kind: u8, children: usize) -> Vec<u8> {
    let mut tree = b"TREE".to_vec();
    tree.extend([kind, 0]);
    tree.extend((children as u16).to_le_bytes());
    tree.extend([UNDEFINED; 2].map(u64::to_le_bytes).concat());
    tree
}

/// IV.A.1.a: an object header of version 1.
fn header(messages: &[Vec<u8>]) -> Vec<u8> {
    let size: usize = messages.iter().map(Vec::len).sum();
    let mut header = vec![1, 0];
    header.extend((messages.len() as u16).to_le_bytes());
    header.extend([1, size as u32, 0].map(u32::to_le_bytes).concat());
    header.extend(messages.concat());
    header
}

fn message(kind: u16, mut data: Vec<u8>) -> Vec<u8> {
    pad(&mut data);
    let mut message = [kind, data.len() as u16].map(u16::to_le_bytes).concat();
    message.extend([0; 4]);
    message.extend(data);
    message
}

/// IV.A.2.b, version 1.
fn dataspace(dims: &[usize]) -> Vec<u8> {
    let mut space = vec![1, dims.len() as u8, 0, 0, 0, 0, 0, 0];
    space.extend(dims.iter().flat_map(|&dim| (dim as u64).to_le_bytes()));
    space
}

/// IV.A.2.d: integers of 64 bits with a sign.
fn type_i64() -> Vec<u8> {
    let mut kind = vec![0x10, 0x08, 0, 0];
    kind.extend(8u32.to_le_bytes());
    kind.extend([0, 64].map(u16::to_le_bytes).concat());
    kind
}

/// IV.A.2.d: IEEE's numbers of 32 bits.
fn type_f32() -> Vec<u8> {
    let mut kind = vec![0x11, 0x20, 31, 0];
    kind.extend(4u32.to_le_bytes());
    kind.extend([0, 32].map(u16::to_le_bytes).concat());
    kind.extend([23, 8, 0, 23]);
    kind.extend(127u32.to_le_bytes());
    kind
}

/// IV.A.2.m, version 1.
fn attribute(name: &str, value: &Attribute<'_>) -> Vec<u8> {
    let (mut kind, value) = match value {
        Attribute::Number(number) => (type_i64(), number.to_le_bytes().to_vec()),
        Attribute::Text(text) => {
            // UTF-8, filled up with zeros.
            let mut kind = vec![0x13, 0x11, 0, 0];
            kind.extend((text.len() as u32).to_le_bytes());
            (kind, text.as_bytes().to_vec())
        }
    };
    let mut space = dataspace(&[]);
    let mut name = [name.as_bytes(), &[0]].concat();
    let mut data = vec![1, 0];
    let sizes = [name.len(), kind.len(), space.len()];
    data.extend(sizes.map(|size| (size as u16).to_le_bytes()).concat());
    for part in [&mut name, &mut kind, &mut space] {
        pad(part);
        data.extend_from_slice(part);
    }
    data.extend(value);
    message(0x0C, data)
}

/// A dataset whose values lie together (IV.A.2.i, class 1); its header's address.
fn column(out: &mut Vec<u8>, values: &[i64]) -> u64 {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let at = put(out, &bytes);
    let mut layout = vec![3, 1];
    layout.extend([at, bytes.len() as u64].map(u64::to_le_bytes).concat());
    let messages = [
        message(0x01, dataspace(&[values.len()])),
        message(0x03, type_i64()),
        // Space is taken late, and filled only where a value is given.
        message(0x05, vec![2, 2, 2, 0]),
        message(0x08, layout),
    ];
    put(out, &header(&messages))
}

impl Pictures<'_> {
    /// The chunks, the tree over them (III.A.1, kind 1), and the header, whose address it gives.
    fn write(&self, out: &mut Vec<u8>) -> io::Result<u64> {
        let [h, w] = self.size;
        let num = self.values.len() / (h * w);
        let chunks = self.values.chunks(self.chunk * h * w);
        if chunks.len() > 2 * CHUNK_K {
            return Err(too_many("chunks", 2 * CHUNK_K));
        }
        let mut tree = tree_head(1, chunks.len());
        let key = |bytes: usize, start: usize| {
            let mut key = [bytes as u32, 0].map(u32::to_le_bytes).concat();
            key.extend([start as u64, 0, 0, 0].map(u64::to_le_bytes).concat());
            key
        };
        for (idx, values) in chunks.enumerate() {
            // The last chunk is whole too, with zeros behind the last picture.
            let mut bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            bytes.resize(self.chunk * h * w * 4, 0);
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(self.level));
            encoder.write_all(&bytes)?;
            let packed = encoder.finish()?;
            let at = put(out, &packed);
            tree.extend(key(packed.len(), idx * self.chunk));
            tree.extend(at.to_le_bytes());
        }
        tree.extend(key(0, num.next_multiple_of(self.chunk)));
        tree.resize(24 + 2 * CHUNK_K * 8 + (2 * CHUNK_K + 1) * 40, 0);
        let tree = put(out, &tree);
        let mut layout = vec![3, 2, 4];
        layout.extend(tree.to_le_bytes());
        layout.extend(
            [self.chunk, h, w, 4]
                .map(|side| (side as u32).to_le_bytes())
                .concat(),
        );
        // IV.A.2.l, version 1: deflate, of which a level is known.
        let mut filters = vec![1, 1, 0, 0, 0, 0, 0, 0];
        filters.extend([1, 0, 1, 1].map(u16::to_le_bytes).concat());
        filters.extend([self.level, 0].map(u32::to_le_bytes).concat());
        let messages = [
            message(0x01, dataspace(&[num, h, w])),
            message(0x03, type_f32()),
            // Space is taken as chunks come.
            message(0x05, vec![2, 3, 2, 0]),
            message(0x0B, filters),
            message(0x08, layout),
        ];
        Ok(put(out, &header(&messages)))
    }
}
