//! Every plot, drawn.

use marey_eval::{CurvePanel, LearningCurve, LearningPoint, MeasuredFigure, Plot};

use crate::sample;

#[test]
fn a_full_report_has_every_plot() {
    let plots = sample::report().plots();
    let names: Vec<&str> = plots.iter().map(Plot::name).collect();
    let expected = [
        "figures",
        "confusion_matrix",
        "class_recall",
        "reliability",
        "coverage",
        "loss",
        "validation_metrics",
        "learning_rate",
        "label_counts",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_plot_without_data_is_left_out() {
    let mut report = sample::report();
    report
        .curves
        .retain(|curve| curve.panel != CurvePanel::Loss);
    for curve in &mut report.curves {
        curve.points = vec![(0.0, f64::NAN), (f64::INFINITY, 1.0)];
    }
    report.data.splits.clear();
    report.selective = None;
    report.classification.reliability.clear();
    let plots = report.plots();
    let names: Vec<&str> = plots.iter().map(Plot::name).collect();
    assert_eq!(names, ["figures", "confusion_matrix", "class_recall"]);
}

#[test]
fn a_png_has_room_for_the_plot() {
    for plot in sample::report().plots() {
        let png = plot.to_png().expect("a drawable plot");
        let side = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("4 bytes"));
        // PNG specification, section 11.2.2: width and height open the IHDR chunk.
        let [width, height] = plot.size_px();
        assert!(f64::from(side(16)) >= 2.0 * width, "{}", plot.name());
        assert!(f64::from(side(20)) >= 2.0 * height, "{}", plot.name());
    }
}

/// Without a font `resvg` leaves text out and says nothing.
#[test]
fn a_png_holds_the_text() {
    let pixels = |name: &str| {
        let mut report = sample::report();
        report.classification.classes[4] = name.into();
        let plots = report.plots();
        let plot = plots
            .iter()
            .find(|plot| plot.name() == "confusion_matrix")
            .expect("always there");
        plot.to_png().expect("a drawable plot")
    };
    for name in ["anima1", "animál", "живот", "ζώα !"] {
        assert_ne!(pixels("animal"), pixels(name), "{name}");
    }
}

#[test]
fn names_of_any_kind_can_be_drawn() {
    let mut report = sample::report();
    for name in [
        "a<b & \"c\" \u{1} \u{fffe} 犬 ]]>",
        "",
        "مرحبا",
        &"long ".repeat(100),
    ] {
        report.classification.classes[0] = name.into();
        report.classification.per_class[0].name = name.into();
        report.data.splits[0].split = name.into();
        report.curves[0].name = name.into();
        for plot in report.plots() {
            plot.to_png().expect("a drawable plot");
        }
    }
}

#[test]
fn a_learning_curve_shows_what_was_measured_and_what_is_projected() {
    let measured = [(100, 0.6), (200, 0.7), (400, 0.78)].map(|(num_items, value)| MeasuredFigure {
        num_items,
        value,
        interval: [value - 0.1, value + 0.08],
    });
    let points = measured.map(|point| LearningPoint {
        num_items: point.num_items,
        error: 1.0 - point.value,
        standard_error: 0.045,
    });
    let curve = LearningCurve::fit(&points, 0).expect("three sizes");
    let plot = curve.plot(&measured, 400, "macro F1");
    assert_eq!(plot.title(), "macro F1 by the number of training items");
    let svg = plot.to_svg();
    assert_eq!(svg.matches("<circle").count(), 3 + 1 + 1);
    assert_eq!(svg.matches("<polygon").count(), 1);
    for part in ["400 items there are", "training items", "100 %"] {
        assert!(svg.contains(part), "{part}");
    }
    plot.to_png().expect("a drawable plot");
    // Without a projection nothing is marked.
    let svg = curve.plot(&measured, 0, "top-1").to_svg();
    assert_eq!(svg.matches("<circle").count(), 3 + 1);
    assert!(!svg.contains("there are"), "{svg}");
}
