//! The plot: what is waited for against memory kept idle, one line per policy, as SVG; both scales logarithmic.

use std::fmt::Write as _;

use crate::Point;

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 465.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 385.0;
const COLOURS: [&str; 4] = ["#888888", "#1f77b4", "#d62728", "#2ca02c"];
/// The scales' marks; the first and the last are their ends.
const GIBIBYTES: [f64; 8] = [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
const VALUES: [f64; 9] = [0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 50.0, 100.0, 200.0];

/// Which figure of a point is drawn.
pub(crate) type Figure = fn(&Point) -> f64;
/// A drawing's title and what it shows.
pub(crate) type Panel<'a> = (&'a str, Figure);

/// One drawing beside the other.
pub(crate) fn svg(lines: &[(&str, Vec<Point>)], panels: &[Panel<'_>]) -> String {
    let width = WIDTH * panels.len() as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{width}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    for (place, (title, figure)) in panels.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = writeln!(out, "<g transform=\"translate({} 0)\">", WIDTH * place as f64);
        panel(&mut out, lines, title, figure);
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    out
}

fn panel(out: &mut String, lines: &[(&str, Vec<Point>)], title: &str, figure: &Figure) {
    let x = |gib: f64| LEFT + (RIGHT - LEFT) * place(&GIBIBYTES, gib);
    let y = |value: f64| BOTTOM - (BOTTOM - TOP) * place(&VALUES, value);
    let _ = writeln!(out, "<text x=\"{LEFT}\" y=\"20\" font-size=\"14\">{title}</text>");
    for value in VALUES {
        let (level, text) = (y(value), y(value) + 4.0);
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" y1=\"{level:.1}\" x2=\"{RIGHT}\" y2=\"{level:.1}\" stroke=\"#dddddd\"/>\n\
             <text x=\"{}\" y=\"{text:.1}\" text-anchor=\"end\">{value}</text>",
            LEFT - 6.0
        );
    }
    for gib in GIBIBYTES {
        let _ = writeln!(out, "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{gib}</text>", x(gib), BOTTOM + 18.0);
    }
    let (middle, below) = (f64::midpoint(LEFT, RIGHT), BOTTOM + 38.0);
    let _ = writeln!(
        out,
        "<text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">memory kept idle, GiB on average</text>"
    );
    for (number, ((name, points), colour)) in lines.iter().zip(COLOURS).enumerate() {
        let spots: Vec<_> = points.iter().map(|point| (x(point.idle_gib), y(figure(point)))).collect();
        let path: Vec<_> = spots.iter().map(|(at, level)| format!("{at:.1},{level:.1}")).collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        );
        for (at, level) in spots {
            let _ = writeln!(out, "<circle cx=\"{at:.1}\" cy=\"{level:.1}\" r=\"3.5\" fill=\"{colour}\"/>");
        }
        let (at, level) = (LEFT + 14.0, BOTTOM - 70.0 + number as f64 * 18.0);
        let _ = writeln!(
            out,
            "<rect x=\"{at}\" y=\"{}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\n<text x=\"{}\" y=\"{level}\">{name}</text>",
            level - 10.0,
            at + 18.0
        );
    }
}

/// Where a value lies between the ends of a logarithmic scale, from 0 to 1.
fn place(marks: &[f64], value: f64) -> f64 {
    let (Some(low), Some(high)) = (marks.first(), marks.last()) else { return 0.0 };
    ((value / low).ln() / (high / low).ln()).clamp(0.0, 1.0)
}
