//! Pixels from SVG.

use std::sync::{Arc, LazyLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{self, fontdb};

use crate::{Error, ErrorKind};

/// DejaVu Sans, cut to Latin, Greek, Cyrillic and signs; see `assets/README.md`.
static FONT: &[u8] = include_bytes!("../../assets/DejaVuSans-subset.ttf");

/// No font of the machine is used: a plot has the same pixels everywhere.
static FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(FONT.to_vec());
    fonts.set_sans_serif_family("DejaVu Sans");
    Arc::new(fonts)
});

/// Pixels to a CSS pixel.
const SCALE: f32 = 2.0;

pub(super) fn png_from_svg(svg: &str) -> Result<Vec<u8>, Error> {
    let options = usvg::Options {
        fontdb: Arc::clone(&FONTS),
        font_family: "DejaVu Sans".into(),
        ..Default::default()
    };
    let tree = usvg::Tree::from_str(svg, &options).map_err(draw_error)?;
    let size = tree.size();
    let (width, height) = (
        (size.width() * SCALE).ceil(),
        (size.height() * SCALE).ceil(),
    );
    let mut pixels = Pixmap::new(width as u32, height as u32)
        .ok_or_else(|| ErrorKind::Draw(format!("{width} x {height} pixels are too many")))?;
    resvg::render(
        &tree,
        Transform::from_scale(SCALE, SCALE),
        &mut pixels.as_mut(),
    );
    pixels.encode_png().map_err(draw_error)
}

fn draw_error(error: impl std::fmt::Display) -> Error {
    ErrorKind::Draw(error.to_string()).into()
}
