//! The confusion matrix: counts, and shares of each true class as colour.

use super::Plot;
use super::canvas::{Anchor, Canvas, shortened, text_width_px};
use crate::Classification;

const MAX_NAME: usize = 20;

/// From this share on, text on a cell is light.
const DARK_SHARE: f64 = 0.55;

/// What fits into a cell of a matrix of this many classes.
struct Cell {
    side: f64,
    shows_count: bool,
    shows_share: bool,
    shows_names: bool,
}

impl Cell {
    fn for_classes(num_classes: usize) -> Self {
        let (side, shows_count, shows_share) = match num_classes {
            0..=4 => (62.0, true, true),
            5..=8 => (48.0, true, true),
            9..=16 => (36.0, true, true),
            17..=40 => (22.0, true, false),
            _ => ((900.0 / num_classes as f64).max(2.0), false, false),
        };
        Self {
            side,
            shows_count,
            shows_share,
            shows_names: side >= 10.0,
        }
    }
}

pub(super) fn plot(classification: &Classification) -> Plot {
    let names: Vec<String> = classification
        .classes
        .iter()
        .map(|name| shortened(name, MAX_NAME))
        .collect();
    let cell = Cell::for_classes(names.len());
    let longest = names
        .iter()
        .map(|name| text_width_px(name))
        .fold(0.0, f64::max);
    let longest = if cell.shows_names { longest } else { 0.0 };
    // Names over the columns rise at 45 degrees and stick out to the right.
    let slant = longest * std::f64::consts::FRAC_1_SQRT_2;
    let (left, top) = (longest + 30.0, slant + 34.0);
    let side = cell.side * names.len() as f64;
    let right = (slant - cell.side / 2.0 + 12.0).max(58.0);
    let mut canvas = Canvas::new((left + side + right).max(240.0), top + side + 10.0);

    canvas.text([left, 14.0], Anchor::Start, "soft", "predicted →");
    canvas.text([left - 10.0, top - 6.0], Anchor::End, "soft", "true ↓");
    let rows = classification
        .confusion
        .iter()
        .zip(&names)
        .zip(&classification.classes);
    for (truth, ((row, name), full_name)) in rows.enumerate() {
        let y = top + truth as f64 * cell.side;
        let middle = y + cell.side / 2.0 + 4.0;
        let x_of = |class: usize| left + class as f64 * cell.side;
        if cell.shows_names {
            canvas.text([left - 8.0, middle], Anchor::End, "ink", name);
            let x = x_of(truth) + cell.side / 2.0 - 1.0;
            canvas.slanted_text([x, top - 8.0], "ink", name);
        }
        let support: u64 = row.iter().sum();
        for (predicted, &count) in row.iter().enumerate() {
            let share = if support == 0 {
                0.0
            } else {
                count as f64 / support as f64
            };
            let tooltip = format!(
                "{full_name} taken for {}: {count} of {support}",
                classification.classes[predicted]
            );
            let corner = [x_of(predicted), y];
            canvas.heat(corner, cell.side, share, &tooltip);
            draw_numbers(&mut canvas, &cell, corner, count, share);
        }
        if cell.shows_count {
            let x = left + side + 8.0;
            canvas.text(
                [x, middle],
                Anchor::Start,
                "soft small",
                &format!("n = {support}"),
            );
        }
    }
    let title = "Confusion matrix: number of items, and share of each true class";
    Plot::new("confusion_matrix", title, canvas)
}

fn draw_numbers(canvas: &mut Canvas, cell: &Cell, [x, y]: [f64; 2], count: u64, share: f64) {
    if !cell.shows_count || count == 0 {
        return;
    }
    let ink = if share >= DARK_SHARE {
        "on-heat"
    } else {
        "ink"
    };
    let x = x + cell.side / 2.0;
    let middle = y + cell.side / 2.0;
    if cell.shows_share {
        let (size, share_size) = if cell.side < 40.0 {
            ("small", "tiny")
        } else {
            ("strong", "small")
        };
        canvas.text(
            [x, middle - 1.0],
            Anchor::Middle,
            &format!("{ink} {size}"),
            &count.to_string(),
        );
        let share = format!("{:.0} %", 100.0 * share);
        canvas.text(
            [x, middle + 12.0],
            Anchor::Middle,
            &format!("{ink} {share_size}"),
            &share,
        );
    } else {
        canvas.text(
            [x, middle + 3.5],
            Anchor::Middle,
            &format!("{ink} tiny"),
            &count.to_string(),
        );
    }
}
