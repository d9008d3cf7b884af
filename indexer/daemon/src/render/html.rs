//! A report as one page for a browser: plots in it, nothing fetched, no script. Knows no report.

use jiff::tz::TimeZone;
use snapshot::{Head, Page, Value};

use super::page::{cell_text, greatest, heading};
use super::{count, local_time};

/// What it looks like; in the dark as the browser asks for it.
const STYLE: &str = "\
:root{color-scheme:light dark;--ground:#fcfcfb;--ink:#1d1f23;--faint:#5f6670;--line:#e1e3e6;--bar:#2f6fb3;--less:#b3542f}
@media(prefers-color-scheme:dark){:root{--ground:#16181c;--ink:#e6e8eb;--faint:#9aa2ad;--line:#2c3036;--bar:#6aa9e9;--less:#e08a63}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:64rem;padding:2rem 1.25rem 4rem;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:0 0 .25rem}h2{font-size:1.15rem;margin:2.5rem 0 .75rem}
p{margin:.25rem 0;color:var(--faint)}
svg{display:block;width:100%;height:auto;margin:.5rem 0 1rem}
svg text{fill:var(--ink);font-size:13px}svg .amount{fill:var(--faint)}
svg .bar{fill:var(--bar)}svg .less{fill:var(--less)}svg .axis{stroke:var(--line)}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .75rem .3rem 0;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th{color:var(--faint);font-weight:500}
th:first-child,td:first-child{text-align:left;white-space:normal;overflow-wrap:anywhere;min-width:9rem}
";
/// Lengths of a plot.
const WIDTH: f64 = 960.0;
const ROW: f64 = 26.0;
const LABEL: f64 = 330.0;
const AMOUNT: f64 = 110.0;
/// Letters of a label; the whole of it is told where it is pointed at.
const LETTERS: usize = 48;

/// A page of `pages`, with the first `most` rows of each.
pub(crate) fn html_page(pages: &[Page], heads: &[Head], most: usize) -> String {
    let title = match pages {
        [page] => page.title.clone(),
        _ => "Storage".to_owned(),
    };
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{}</h1>\n",
        escaped(&title),
        escaped(&title)
    );
    for head in heads {
        html += &format!(
            "<p>{} on {}, as of {}{}</p>\n",
            escaped(&cell_text(&Value::Text(head.root.clone()), snapshot::Shape::Text)),
            escaped(&head.host),
            local_time(i128::from(head.taken_us) * 1000, &TimeZone::system()),
            head.watermark.map(|seq| format!(" (seq {})", count(seq))).unwrap_or_default()
        );
    }
    for page in pages {
        if pages.len() > 1 {
            html += &format!("<h2>{}</h2>\n", escaped(&page.title));
        }
        plot(&mut html, page, most);
        table(&mut html, page, most);
        for note in &page.notes {
            html += &format!("<p>{}</p>\n", escaped(note));
        }
    }
    html + "</body>\n</html>\n"
}

/// What a row is of; that of sizes has two ends.
fn label(page: &Page, row: &[Value]) -> String {
    let text = cell_text(&row[0], page.columns[0].1);
    match (page.columns[0].1, row.get(1)) {
        (snapshot::Shape::Size, Some(Value::Number(0))) => "empty".to_owned(),
        (snapshot::Shape::Size, Some(Value::Null)) => format!("over {text}"),
        (snapshot::Shape::Size, Some(most)) => format!("up to {}", cell_text(most, page.columns[1].1)),
        _ => text,
    }
}

fn plot(html: &mut String, page: &Page, most: usize) {
    let (rows, _) = page.cut(most);
    if rows.is_empty() {
        *html += "<p>Nothing.</p>\n";
        return;
    }
    let greatest = greatest(page, rows) as f64;
    let (name, shape) = page.columns[page.bar];
    let amounts = || rows.iter().filter_map(|row| row[page.bar].number());
    // Where some are less than nothing, nothing lies between the two sides.
    let (less, more) = (amounts().any(|amount| amount < 0), amounts().any(|amount| amount > 0));
    let room = WIDTH - LABEL - AMOUNT;
    let scale = if less && more { room / 2.0 } else { room };
    let zero = LABEL + if less && more { room / 2.0 } else { 0.0 };
    let height = ROW * rows.len() as f64 + 8.0;
    *html += &format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}, by {}\">\n\
         <line class=\"axis\" x1=\"{zero}\" y1=\"0\" x2=\"{zero}\" y2=\"{height}\"/>\n",
        escaped(&page.title),
        escaped(&heading(name))
    );
    for (at, row) in rows.iter().enumerate() {
        let amount = row[page.bar].number().unwrap_or(0);
        let length =
            (amount.unsigned_abs() as f64 / greatest * scale).max(if amount == 0 { 0.0 } else { 1.5 });
        let (top, whole) = (ROW * at as f64 + 4.0, label(page, row));
        let (class, left) = match amount {
            ..0 if less && more => ("bar less", zero - length),
            ..0 => ("bar less", zero),
            _ => ("bar", zero),
        };
        let told = cell_text(&row[page.bar], shape);
        let base = top + 14.0;
        *html += &format!(
            "<g><title>{}: {}</title><text x=\"{}\" y=\"{base}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{class}\" x=\"{left:.1}\" y=\"{top}\" width=\"{length:.1}\" height=\"18\" rx=\"2\"/>\
             <text class=\"amount\" x=\"{WIDTH}\" y=\"{base}\" text-anchor=\"end\">{}</text></g>\n",
            escaped(&whole),
            escaped(&told),
            LABEL - 10.0,
            escaped(&shortened(&whole)),
            escaped(&told)
        );
    }
    *html += "</svg>\n";
}

fn shortened(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= LETTERS {
        return text.to_owned();
    }
    // Ends tell paths apart.
    letters[..10].iter().chain(&['…']).chain(&letters[letters.len() - (LETTERS - 11)..]).collect()
}

fn table(html: &mut String, page: &Page, most: usize) {
    let (rows, rest) = page.cut(most);
    *html += "<div class=\"wide\"><table>\n<tr>";
    for (name, _) in &page.columns {
        *html += &format!("<th>{}</th>", escaped(&heading(name)));
    }
    *html += "</tr>\n";
    let mut line = |cells: &[String]| {
        *html += "<tr>";
        for cell in cells {
            *html += &format!("<td>{}</td>", escaped(cell));
        }
        *html += "</tr>\n";
    };
    let texts = |row: &[Value]| -> Vec<String> {
        row.iter().zip(&page.columns).map(|(cell, (_, shape))| cell_text(cell, *shape)).collect()
    };
    for row in rows {
        line(&texts(row));
    }
    if let Some((left, sums)) = rest {
        let mut cells = texts(&sums);
        cells[0] = format!("({} more)", count(left as u64));
        line(&cells);
    }
    *html += "</table></div>\n";
}

/// Text that is nothing but text, in elements and in attributes.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use snapshot::Shape;

    #[test]
    fn a_hostile_name_is_text_wherever_it_stands() {
        let hostile = "</title><script>alert(1)</script>\"'&";
        let page = Page {
            name: "types",
            title: "Files by type".into(),
            columns: vec![("type", Shape::Text), ("growth", Shape::Signed)],
            rows: vec![
                vec![Value::Text(hostile.into()), Value::Number(5)],
                vec![Value::Text("x".repeat(80)), Value::Number(-5)],
            ],
            bar: 1,
            whole: false,
            notes: vec![hostile.into()],
        };
        let head = Head {
            root: format!("/{hostile}"),
            root_raw: None,
            host: hostile.into(),
            epoch: Some(String::new()),
            watermark: Some(7),
            taken_us: 0,
            columns: snapshot::Columns::Native,
        };
        let html = html_page(&[page], &[head], 9);
        assert!(!html.contains("<script") && !html.contains("alert(1)</script>"), "{html}");
        assert_eq!(
            html.matches("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;").count(),
            6,
            "{html}"
        );
        assert!(
            !html.contains("http://") && !html.contains("https://") && !html.contains("src="),
            "nothing is fetched"
        );
        assert!(html.contains("class=\"bar less\"") && html.contains("prefers-color-scheme:dark"));
    }
}
