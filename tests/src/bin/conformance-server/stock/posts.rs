//! A layer that remembers the headers of the last POST of each session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http::{Method, Request};
use tower_layer::Layer;
use tower_service::Service;

type Headers = HashMap<String, String>;

/// The headers, by session id.
#[derive(Clone, Default)]
pub(super) struct Posts(Arc<Mutex<HashMap<String, Headers>>>);

impl Posts {
    /// Those of the last POST of a session.
    pub(super) fn headers(&self, sid: &str) -> Headers {
        self.0.lock().expect("nothing panics under it").get(sid).cloned().unwrap_or_default()
    }

    fn remember<B>(&self, request: &Request<B>) {
        let mut parameters = request.uri().query().unwrap_or_default().split('&');
        if request.method() == Method::POST
            && let Some(sid) = parameters.find_map(|parameter| parameter.strip_prefix("sid="))
        {
            let headers = request.headers().iter();
            let headers =
                headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()));
            self.0.lock().expect("nothing panics under it").insert(sid.to_owned(), headers.collect());
        }
    }
}

impl<S> Layer<S> for Posts {
    type Service = Remembering<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Remembering { posts: self.clone(), inner }
    }
}

/// A service whose POSTs are remembered.
#[derive(Clone)]
pub(super) struct Remembering<S> {
    posts: Posts,
    inner: S,
}

impl<B, S: Service<Request<B>>> Service<Request<B>> for Remembering<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        self.posts.remember(&request);
        self.inner.call(request)
    }
}
