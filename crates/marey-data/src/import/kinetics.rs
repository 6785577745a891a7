//! Tables of Kinetics (Kay et al., 2017): `label,youtube_id,time_start,time_end,split`, a line a clip that was cut out of a
//! video.
//!
//! The file of a clip is `<youtube_id>_<start>_<end>.mp4`, both in seconds with six digits, in the folder of its class, of its
//! split, of both, or beside the table. Names of classes are written as they are, or with `_` for spaces.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    DataConfig, Dataset, Error, Format, Importer, Item, Refused, Split,
    import::{
        class_idx, class_list,
        folders::id_of,
        manifest::{decode, is_table, records},
        without_missing,
    },
};

const COLUMNS: [&str; 4] = ["label", "youtube_id", "time_start", "time_end"];
const EXTENSIONS: [&str; 4] = ["mp4", "mkv", "webm", "avi"];

pub(crate) struct Kinetics;

impl Importer for Kinetics {
    fn name(&self) -> &'static str {
        "kinetics"
    }

    fn format(&self) -> Format {
        Format::Kinetics
    }

    fn detects(&self, path: &Path) -> bool {
        let text = match is_table(path) {
            true => fs::read(path).unwrap_or_default(),
            false => return false,
        };
        let head =
            String::from_utf8_lossy(text.split(|&byte| byte == b'\n').next().unwrap_or_default())
                .to_lowercase();
        COLUMNS[1..].iter().all(|name| head.contains(name))
    }

    fn import(&self, config: &DataConfig, refused: &mut Vec<Refused>) -> Result<Dataset, Error> {
        config.refuse_of_frame_trees(self.name())?;
        config.refuse(
            self.name(),
            &[
                ("data.label", config.label.is_some()),
                ("data.group", config.group.is_some()),
                ("data.path_map", !config.path_map.is_empty()),
            ],
        )?;
        let table = &config.path;
        let bytes = fs::read(table).map_err(|source| Error::io(table, "read the table", source))?;
        let records = records(table, decode(table, &bytes)?)?;
        let mut lines = records.iter();
        let (_, header) = lines
            .next()
            .ok_or_else(|| Error::layout(table, "is empty: expected a header and a line a clip"))?;
        let position = |name: &str| {
            let mut cells = header.iter().map(str::trim);
            cells.position(|known| known.eq_ignore_ascii_case(name))
        };
        let mut columns = [0; 4];
        for (place, name) in columns.iter_mut().zip(COLUMNS) {
            *place = position(name).ok_or_else(|| {
                let hint = if name == "label" {
                    " (the test table of Kinetics has no labels)"
                } else {
                    ""
                };
                Error::layout(table, format!("no column `{name}`{hint}"))
            })?;
        }
        let split = position("split");
        let mut clips = Vec::new();
        for (line, record) in lines {
            let cell = |idx: usize| record.get(idx).unwrap_or_default().trim();
            let clip = Clip::read(columns.map(cell), split.map(cell));
            clips.push(clip.map_err(|problem| Error::line(table, *line, problem))?);
        }
        let classes = class_list(config, clips.iter().map(|clip| clip.label.as_str()))?;
        let root = table.parent().unwrap_or(Path::new(""));
        let mut items = Vec::with_capacity(clips.len());
        for clip in clips {
            let label = class_idx(&classes, &clip.label)
                .map_err(|problem| Error::layout(table, problem))?;
            items.push(clip.item(root, label));
        }
        let mut notes = Vec::new();
        let items = without_missing(config, items, &mut notes, refused);
        Ok(Dataset {
            classes,
            items,
            notes,
            accepted_leak: None,
        })
    }
}

/// A line of the table.
#[derive(Debug)]
struct Clip {
    label: String,
    video: String,
    start: u32,
    end: u32,
    split: Option<(String, Split)>,
}

impl Clip {
    fn read([label, video, start, end]: [&str; 4], split: Option<&str>) -> Result<Self, String> {
        let secs = |name: &str, text: &str| {
            // Some copies of the tables write 10.0.
            let problem = || format!("{name} `{text}` is no whole number of seconds");
            let secs = text
                .parse::<f64>()
                .ok()
                .filter(|secs| (0.0..1e6).contains(secs) && secs.fract() == 0.0);
            secs.map(|secs| secs as u32).ok_or_else(problem)
        };
        if label.is_empty() || video.is_empty() {
            return Err("has no label or no youtube_id".to_owned());
        }
        let split = match split.filter(|word| !word.is_empty()) {
            None => None,
            Some(word) => {
                let known = Split::from_word(word).ok_or_else(|| {
                    format!("`{word}` is no split, expected train, validate or test")
                })?;
                Some((word.to_owned(), known))
            }
        };
        Ok(Self {
            label: label.to_owned(),
            video: video.to_owned(),
            start: secs("time_start", start)?,
            end: secs("time_end", end)?,
            split,
        })
    }

    fn file_stem(&self) -> String {
        format!("{}_{:06}_{:06}", self.video, self.start, self.end)
    }

    /// The file, at the first place where it is; else where the published scripts put it.
    fn source(&self, root: &Path) -> PathBuf {
        let stem = self.file_stem();
        let classes = [self.label.clone(), self.label.replace(' ', "_")];
        let word = self.split.as_ref().map(|(word, _)| word.as_str());
        let names = self.split.as_ref().map(|(_, split)| match split {
            Split::Validation => "val",
            split => split.name(),
        });
        let mut folders: Vec<PathBuf> = Vec::new();
        for class in &classes {
            let splits = [word, names].into_iter().flatten();
            folders.extend(splits.map(|split| root.join(split).join(class)));
            folders.push(root.join(class));
        }
        folders.extend(
            [word, names]
                .into_iter()
                .flatten()
                .map(|split| root.join(split)),
        );
        folders.push(root.to_owned());
        let files = || {
            folders.iter().flat_map(|folder| {
                EXTENSIONS
                    .iter()
                    .map(|extension| folder.join(format!("{stem}.{extension}")))
            })
        };
        let there = files().find(|file| file.is_file());
        there.unwrap_or_else(|| files().next().expect("there are extensions"))
    }

    fn item(self, root: &Path, label: usize) -> Item {
        let source = self.source(root);
        Item {
            id: id_of(root, &source),
            source,
            span: None,
            label,
            group: Some(self.video.clone()),
            split: self.split.map(|(_, split)| split),
            metadata: BTreeMap::from([
                ("youtube_id".to_owned(), self.video),
                ("time_start".to_owned(), self.start.to_string()),
                ("time_end".to_owned(), self.end.to_string()),
            ]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_has_six_digits_for_each_second() {
        let clip = Clip::read(
            ["tap dancing", "-3B32lodo2M", "59", "69.0"],
            Some("validate"),
        )
        .expect("a clip");
        assert_eq!(clip.file_stem(), "-3B32lodo2M_000059_000069");
        assert_eq!(clip.split, Some(("validate".into(), Split::Validation)));
        for (cells, part) in [
            (["a", "b", "x", "1"], "time_start `x`"),
            (["a", "b", "1", "1.5"], "time_end `1.5`"),
            (["", "b", "1", "2"], "no label"),
        ] {
            assert!(Clip::read(cells, None).expect_err(part).contains(part));
        }
    }
}
