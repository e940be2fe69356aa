//! Who may come in from where, and how they prove who they are: rules in the manner of
//! PostgreSQL's `pg_hba.conf`. The first that fits a connection decides.
//!
//! ```text
//!   host  all  all  127.0.0.0/8,::1/128  scram-if-set ;  hostssl  shop  +clerks  10.0.0.0/8  scram-sha-256
//!   │     │    │    │                    └ method
//!   │     │    │    └ addresses: all, or networks
//!   │     │    └ users: all, names, +role for its members
//!   │     └ databases: all, sameuser, samerole, names
//!   └ host (any), hostssl (encrypted), hostnossl (not)
//! ```
//!
//! Lists have commas between. A name in double quotes is meant as it stands, `"all"` too.

use std::fmt;
use std::net::IpAddr;

/// Most rules: each connection is held against them.
const RULES_MAX: usize = 1_000;

/// One rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuthenticationRule {
    /// Which connections.
    pub connection: ConnectionKind,
    /// To which databases.
    pub databases: Vec<DatabasePattern>,
    /// As which users.
    pub users: Vec<UserPattern>,
    /// From which networks; none is from anywhere.
    pub networks: Vec<Network>,
    /// How they prove who they are.
    pub method: AuthenticationMethod,
}

/// Which connections a rule is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectionKind {
    /// `host`: all.
    Any,
    /// `hostssl`: those that are encrypted.
    Encrypted,
    /// `hostnossl`: those that are not.
    Plain,
}

/// Which database a rule is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DatabasePattern {
    /// `all`
    All,
    /// `sameuser`: the one that is named like the user.
    SameUser,
    /// `samerole`: one that is named like a role that the user is a member of.
    SameRole,
    /// The one of this name.
    Named(String),
}

/// Which user a rule is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UserPattern {
    /// `all`
    All,
    /// The one of this name.
    Named(String),
    /// `+role`: its members.
    MemberOf(String),
}

/// A network: the addresses that begin with the same bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    /// Any of its addresses.
    pub address: IpAddr,
    /// How many bits are the same in all of them.
    pub prefix: u8,
}

/// How a user proves who it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthenticationMethod {
    /// Not at all.
    Trust,
    /// By the password.
    ScramSha256,
    /// By the password, where the user has one.
    ScramIfSet,
    /// It is refused.
    Reject,
}

/// A connection, as rules look at it.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'a> {
    /// As whom.
    pub user: &'a str,
    /// Where to.
    pub database: &'a str,
    /// Where from.
    pub address: IpAddr,
    /// Whether it is encrypted.
    pub encrypted: bool,
}

impl AuthenticationRule {
    /// What holds where nobody says anything: on the node's own host a password is asked for where
    /// one is set, from elsewhere always.
    pub fn defaults() -> Vec<AuthenticationRule> {
        let rule = |networks, method| AuthenticationRule {
            connection: ConnectionKind::Any,
            databases: vec![DatabasePattern::All],
            users: vec![UserPattern::All],
            networks,
            method,
        };
        let loopback = vec![
            Network { address: IpAddr::from([127, 0, 0, 0]), prefix: 8 },
            Network { address: IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), prefix: 128 },
        ];
        vec![
            rule(loopback, AuthenticationMethod::ScramIfSet),
            rule(Vec::new(), AuthenticationMethod::ScramSha256),
        ]
    }

    /// Whether the rule is about a connection. `is_member` tells whether its user is a member of a
    /// role.
    pub fn fits(&self, connection: &Connection<'_>, is_member: impl Fn(&str) -> bool) -> bool {
        let kind = match self.connection {
            ConnectionKind::Any => true,
            ConnectionKind::Encrypted => connection.encrypted,
            ConnectionKind::Plain => !connection.encrypted,
        };
        let database = |pattern: &DatabasePattern| match pattern {
            DatabasePattern::All => true,
            DatabasePattern::SameUser => connection.database == connection.user,
            DatabasePattern::SameRole => is_member(connection.database),
            DatabasePattern::Named(name) => connection.database == name,
        };
        let user = |pattern: &UserPattern| match pattern {
            UserPattern::All => true,
            UserPattern::Named(name) => connection.user == name,
            UserPattern::MemberOf(role) => is_member(role),
        };
        kind && self.databases.iter().any(database)
            && self.users.iter().any(user)
            && (self.networks.is_empty()
                || self.networks.iter().any(|network| network.holds(connection.address)))
    }

    /// Reads rules with semicolons or line ends between.
    pub(crate) fn parse_list(text: &str) -> Result<Vec<AuthenticationRule>, String> {
        let mut rules = Vec::new();
        for (number, line) in split(text, |c| c == ';' || c == '\n')?.into_iter().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let rule = AuthenticationRule::parse(line);
            rules.push(rule.map_err(|reason| format!("rule {}: {reason}", number + 1))?);
        }
        match rules.len() {
            0 => Err("there is no rule: nobody could come in".into()),
            count if count > RULES_MAX => Err(format!("there are more than {RULES_MAX} rules")),
            _ => Ok(rules),
        }
    }

    fn parse(line: &str) -> Result<AuthenticationRule, String> {
        let words = split(line.trim(), char::is_whitespace)?;
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        let [kind, databases, users, networks, method] = words[..] else {
            return Err("a rule is: type database user address method".into());
        };
        Ok(AuthenticationRule {
            connection: match kind {
                "host" => ConnectionKind::Any,
                "hostssl" => ConnectionKind::Encrypted,
                "hostnossl" => ConnectionKind::Plain,
                other => return Err(format!("{other} is none of host, hostssl, hostnossl")),
            },
            databases: list(databases)?
                .into_iter()
                .map(|word| match word {
                    Word::Bare("all") => Ok(DatabasePattern::All),
                    Word::Bare("sameuser") => Ok(DatabasePattern::SameUser),
                    Word::Bare("samerole" | "samegroup") => Ok(DatabasePattern::SameRole),
                    word => word.name().map(DatabasePattern::Named),
                })
                .collect::<Result<_, _>>()?,
            users: list(users)?
                .into_iter()
                .map(|word| match word {
                    Word::Bare("all") => Ok(UserPattern::All),
                    Word::Bare(name) if name.starts_with('+') => {
                        Word::of(&name[1..])?.name().map(UserPattern::MemberOf)
                    }
                    word => word.name().map(UserPattern::Named),
                })
                .collect::<Result<_, _>>()?,
            networks: match networks {
                "all" => Vec::new(),
                some => some.split(',').map(Network::parse).collect::<Result<_, _>>()?,
            },
            method: match method {
                "trust" => AuthenticationMethod::Trust,
                "scram-sha-256" => AuthenticationMethod::ScramSha256,
                "scram-if-set" => AuthenticationMethod::ScramIfSet,
                "reject" => AuthenticationMethod::Reject,
                other => {
                    return Err(format!(
                        "{other} is none of trust, scram-sha-256, scram-if-set, reject"
                    ));
                }
            },
        })
    }
}

/// A word of a list.
enum Word<'a> {
    Bare(&'a str),
    Quoted(&'a str),
}

impl<'a> Word<'a> {
    fn of(text: &'a str) -> Result<Word<'a>, String> {
        match text.strip_prefix('"') {
            None => Ok(Word::Bare(text)),
            Some(rest) => match rest.strip_suffix('"') {
                Some(name) => Ok(Word::Quoted(name)),
                None => Err(format!("{text} is not one word")),
            },
        }
    }

    fn name(self) -> Result<String, String> {
        match self {
            Word::Bare("") | Word::Quoted("") => Err("a name is empty".into()),
            Word::Bare(name) | Word::Quoted(name) => Ok(name.to_owned()),
        }
    }
}

fn list(text: &str) -> Result<Vec<Word<'_>>, String> {
    split(text, |c| c == ',')?.into_iter().map(Word::of).collect()
}

/// Splits at characters that are not in double quotes.
fn split(text: &str, at: impl Fn(char) -> bool) -> Result<Vec<&str>, String> {
    let mut parts = Vec::new();
    let (mut begin, mut quoted) = (0, false);
    for (position, c) in text.char_indices() {
        if c == '"' {
            quoted = !quoted;
        } else if at(c) && !quoted {
            parts.push(&text[begin..position]);
            begin = position + c.len_utf8();
        }
    }
    if quoted {
        return Err("a double quote is not closed".into());
    }
    parts.push(&text[begin..]);
    Ok(parts)
}

impl Network {
    fn parse(text: &str) -> Result<Network, String> {
        let (address, prefix) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address
            .parse()
            .map_err(|_| format!("{text} is neither all nor a network such as 10.0.0.0/8"))?;
        let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            "" => bits,
            prefix => prefix
                .parse()
                .ok()
                .filter(|prefix| *prefix <= bits)
                .ok_or_else(|| format!("{text} has no prefix of 0 to {bits} bits"))?,
        };
        Ok(Network { address, prefix })
    }

    /// Whether an address is one of it. An IPv4 address that came by an IPv6 socket is one.
    pub fn holds(&self, address: IpAddr) -> bool {
        let same = |one: u128, other: u128, bits: u8| {
            let differing = u32::from(bits - self.prefix);
            one.checked_shr(differing) == other.checked_shr(differing)
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                same(u32::from(own).into(), u32::from(other).into(), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.into(), other.into(), 128),
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl fmt::Display for AuthenticationMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AuthenticationMethod::Trust => "trust",
            AuthenticationMethod::ScramSha256 => "scram-sha-256",
            AuthenticationMethod::ScramIfSet => "scram-if-set",
            AuthenticationMethod::Reject => "reject",
        })
    }
}

impl fmt::Display for AuthenticationRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.connection {
            ConnectionKind::Any => "host",
            ConnectionKind::Encrypted => "hostssl",
            ConnectionKind::Plain => "hostnossl",
        })?;
        let databases = self.databases.iter().map(|pattern| match pattern {
            DatabasePattern::All => "all".to_owned(),
            DatabasePattern::SameUser => "sameuser".to_owned(),
            DatabasePattern::SameRole => "samerole".to_owned(),
            DatabasePattern::Named(name) => quoted(name),
        });
        let users = self.users.iter().map(|pattern| match pattern {
            UserPattern::All => "all".to_owned(),
            UserPattern::Named(name) => quoted(name),
            UserPattern::MemberOf(name) => format!("+{}", quoted(name)),
        });
        let networks = match self.networks[..] {
            [] => vec!["all".to_owned()],
            _ => self.networks.iter().map(Network::to_string).collect(),
        };
        for words in [databases.collect::<Vec<_>>(), users.collect(), networks] {
            write!(f, " {}", words.join(","))?;
        }
        write!(f, " {}", self.method)
    }
}

/// A name as a rule would write it.
fn quoted(name: &str) -> String {
    let keyword = matches!(name, "all" | "sameuser" | "samerole" | "samegroup");
    let odd = |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '+');
    if keyword || name.contains(odd) { format!("\"{name}\"") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<AuthenticationRule> {
        AuthenticationRule::parse_list(text).unwrap()
    }

    fn from<'a>(user: &'a str, database: &'a str, address: &str) -> Connection<'a> {
        Connection { user, database, address: address.parse().unwrap(), encrypted: false }
    }

    #[test]
    fn what_is_read_is_shown_again() {
        let text = "host all all 127.0.0.0/8,::1/128 scram-if-set; \
                    hostssl shop,\"all\" +clerks,\"a b\" 10.1.0.0/16 scram-sha-256; \
                    hostnossl sameuser,samerole all all reject";
        let read = rules(text);
        let shown: Vec<String> = read.iter().map(ToString::to_string).collect();
        assert_eq!(rules(&shown.join(";")), read);
        assert_eq!(shown.join("; "), text);
        assert_eq!(
            rules("host all all 127.0.0.0/8,::1/128 scram-if-set\nhost all all all scram-sha-256"),
            AuthenticationRule::defaults()
        );
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for (text, part) in [
            ("", "no rule"),
            ("host all all all", "a rule is"),
            ("local all all all trust", "none of host"),
            ("host all all all md5", "none of trust"),
            ("host all all 10.0.0.0/33 trust", "prefix"),
            ("host all all example.org trust", "neither all nor"),
            ("host \"all all all trust", "not closed"),
            ("host all , all trust", "empty"),
        ] {
            let reason = AuthenticationRule::parse_list(text).unwrap_err();
            assert!(reason.contains(part), "{text}: {reason}");
        }
    }

    #[test]
    fn a_rule_is_about_what_it_says() {
        let nobody = |_: &str| false;
        let rule = &rules("host shop clerk 10.1.0.0/16 trust")[0];
        assert!(rule.fits(&from("clerk", "shop", "10.1.2.3"), nobody));
        assert!(rule.fits(&from("clerk", "shop", "::ffff:10.1.2.3"), nobody));
        assert!(!rule.fits(&from("clerk", "shop", "10.2.2.3"), nobody));
        assert!(!rule.fits(&from("clerk", "phantom", "10.1.2.3"), nobody));
        assert!(!rule.fits(&from("boss", "shop", "10.1.2.3"), nobody));
        let encrypted = Connection { encrypted: true, ..from("x", "y", "1.2.3.4") };
        let [tls, plain] = &rules("hostssl all all all trust; hostnossl all all all trust")[..]
        else {
            panic!("two rules")
        };
        assert!(tls.fits(&encrypted, nobody) && !plain.fits(&encrypted, nobody));
        let group = &rules("host samerole +staff all trust")[0];
        let member = |role: &str| matches!(role, "staff" | "shop");
        assert!(group.fits(&from("clerk", "shop", "::1"), member));
        assert!(!group.fits(&from("clerk", "other", "::1"), member));
        let everywhere = Network { address: IpAddr::from([0, 0, 0, 0]), prefix: 0 };
        assert!(everywhere.holds("203.0.113.9".parse().unwrap()));
        assert!(!everywhere.holds("::1".parse().unwrap()));
    }
}
