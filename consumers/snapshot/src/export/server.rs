//! Where ClickHouse is, and as whom it is asked. Shows no password to anybody, and sends none over a network that others can read, unless
//! told to.

use std::fmt;
use std::net::IpAddr;

use consumer::web::{HeaderName, HeaderValue, Uri};

use super::error::ExportError;
use crate::place::decoded;

/// An address.
#[derive(Clone)]
pub struct Server {
    /// Scheme, host and path, without a query.
    base: String,
    pub(super) secure: bool,
    loopback: bool,
    user: Option<String>,
    password: Option<String>,
}

impl Server {
    /// Reads `http://` or `https://`, with a name and a password before an `@` or without.
    ///
    /// # Errors
    /// When it is none; never with what it is.
    pub fn new(text: &str) -> Result<Server, ExportError> {
        let wrong = |why: &str| ExportError::Address(format!("--url: {why}"));
        let none = || wrong("that is no address; write http://HOST:8123 or https://HOST:8443");
        let uri: Uri = text.trim().parse().map_err(|_| none())?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(none()),
        };
        if uri.query().is_some() {
            return Err(wrong("parameters are not taken from it; give --database and the like"));
        }
        if uri.path().contains('@') {
            return Err(wrong("write @, / and : in a name or password as %40, %2F and %3A"));
        }
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let (login, at) =
            authority.rsplit_once('@').map_or((None, authority), |(login, at)| (Some(login), at));
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        if host.is_empty() {
            return Err(none());
        }
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
            None => (None, None),
            Some((user, password)) => {
                let text = |part: &str| Some(String::from_utf8_lossy(&decoded(part)).into_owned());
                (text(user), text(password))
            }
        };
        let given = |part: Option<String>| part.filter(|part| !part.is_empty());
        Ok(Server {
            base: format!("{}://{at}{}", if secure { "https" } else { "http" }, uri.path()),
            secure,
            loopback: host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback()),
            user: given(user),
            password: given(password),
        })
    }

    /// With this name and this password, over those of the address where there are any.
    #[must_use]
    pub fn with(mut self, user: Option<String>, password: Option<String>) -> Server {
        self.user = user.or(self.user);
        self.password = password.or(self.password);
        self
    }

    /// With this password, where there is none yet.
    #[must_use]
    pub fn or(mut self, password: Option<String>) -> Server {
        self.password = self.password.or(password);
        self
    }

    /// Whether a password would go where others can read it.
    #[must_use]
    pub fn tells_a_password(&self) -> bool {
        self.password.is_some() && !self.secure && !self.loopback
    }

    /// `text` without the password.
    pub(super) fn redacted(&self, text: &str) -> String {
        match &self.password {
            Some(password) if password.len() > 2 => text.replace(password.as_str(), "…"),
            _ => text.to_owned(),
        }
    }

    /// Who asks.
    pub(super) fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, ExportError> {
        let mut headers = Vec::new();
        for (name, value) in [("x-clickhouse-user", &self.user), ("x-clickhouse-key", &self.password)] {
            if let Some(value) = value {
                let value = HeaderValue::try_from(value);
                let mut value = value.map_err(|_| {
                    ExportError::Address(
                        "the user or the password has bytes that no header can have".to_owned(),
                    )
                })?;
                value.set_sensitive(true);
                headers.push((HeaderName::from_static(name), value));
            }
        }
        Ok(headers)
    }

    /// The address with these parameters, which are encoded already.
    pub(super) fn uri(&self, query: &str) -> Result<Uri, ExportError> {
        let uri = format!("{}?{query}", self.base).parse();
        uri.map_err(|_| ExportError::Address("the address is too long".to_owned()))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_taken_and_never_shown() {
        let address = Server::new("https://ada:p%40ss%2Fword@db.example:8443/ch").unwrap();
        assert_eq!(address.to_string(), "https://db.example:8443/ch");
        assert_eq!(format!("{address:?}"), "Server(https://db.example:8443/ch)");
        assert_eq!(address.password.as_deref(), Some("p@ss/word"));
        assert_eq!(address.redacted("no p@ss/word for ada"), "no … for ada");
        assert!(!address.tells_a_password());
        for wrong in [
            "http://u:pa/ss@h/",
            "u:secret@h",
            "ftp://u:secret@h",
            "http://",
            "http://h?password=secret",
            "http://u:1/secret@h",
        ] {
            let said = Server::new(wrong).unwrap_err().to_string();
            assert!(
                said.starts_with("--url: ") && !said.contains("secret") && !said.contains("pa/ss"),
                "{said}"
            );
        }
    }

    #[test]
    fn only_loopback_may_be_told_a_password_in_the_clear() {
        for (url, tells) in [
            ("http://127.0.0.1:8123", false),
            ("http://[::1]:8123", false),
            ("http://localhost", false),
            ("https://db.example", false),
            ("http://db.example", true),
            ("http://127.0.0.1.example", true),
        ] {
            let address = Server::new(url).unwrap();
            assert!(!address.tells_a_password(), "none to tell: {url}");
            assert_eq!(address.with(None, Some("secret".to_owned())).tells_a_password(), tells, "{url}");
        }
    }
}
