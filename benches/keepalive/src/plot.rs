//! The plot: cold starts against memory kept idle, one line per policy, as SVG.

use std::fmt::Write as _;

use crate::Point;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 730.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 400.0;
const COLOURS: [&str; 4] = ["#888888", "#1f77b4", "#d62728", "#2ca02c"];

/// One line per policy. `cold` says which share of a point is drawn.
pub(crate) fn svg(lines: &[(&str, Vec<Point>)], title: &str, cold: impl Fn(&Point) -> f64) -> String {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let across = points().map(|point| point.idle_gib).fold(1.0, f64::max) * 1.05;
    let up = points().map(&cold).fold(0.1, f64::max) * 1.1;
    let x = |gib: f64| LEFT + (RIGHT - LEFT) * gib / across;
    let y = |share: f64| BOTTOM - (BOTTOM - TOP) * share / up;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n<text x=\"{LEFT}\" y=\"18\" \
         font-size=\"14\">{title}</text>\n"
    );
    for part in 0..=5 {
        let (gib, share) = (across * f64::from(part) / 5.0, up * f64::from(part) / 5.0);
        let (at, level) = (x(gib), y(share));
        // Writing to a string does not fail.
        let _ = write!(
            out,
            "<line x1=\"{LEFT}\" y1=\"{level:.1}\" x2=\"{RIGHT}\" y2=\"{level:.1}\" stroke=\"#dddddd\"/>\n<text \
             x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{share:.1} %</text>\n<text x=\"{at:.1}\" y=\"{:.1}\" \
             text-anchor=\"middle\">{gib:.0}</text>\n",
            LEFT - 6.0,
            level + 4.0,
            BOTTOM + 18.0
        );
    }
    let middle = f64::midpoint(LEFT, RIGHT);
    let _ = writeln!(
        out,
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">memory kept idle, GiB on average</text>",
        BOTTOM + 38.0
    );
    for (place, ((name, points), colour)) in lines.iter().zip(COLOURS).enumerate() {
        let path: Vec<_> =
            points.iter().map(|point| format!("{:.1},{:.1}", x(point.idle_gib), y(cold(point)))).collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        );
        for point in points {
            let (at, level) = (x(point.idle_gib), y(cold(point)));
            let _ = writeln!(out, "<circle cx=\"{at:.1}\" cy=\"{level:.1}\" r=\"3.5\" fill=\"{colour}\"/>");
        }
        let (at, level) = (RIGHT - 190.0, TOP + 16.0 + place as f64 * 18.0);
        let _ = writeln!(
            out,
            "<rect x=\"{at}\" y=\"{}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\n<text x=\"{}\" y=\"{level}\">{name}</text>",
            level - 10.0,
            at + 18.0
        );
    }
    out.push_str("</svg>\n");
    out
}
