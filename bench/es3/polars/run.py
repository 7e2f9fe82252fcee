"""One day of samples (docs/es3.md, default options) as fast as Polars does it.

usage: run.py STORE DAY OUT.parquet THREADS score|hash        (what orders the draw; "hash" is Polars' own)

Threads are set by POLARS_MAX_THREADS. Here every request id names one request and every event has its user.
"""

import pathlib
import sys

import polars as pl
from polars import col

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import rival_input

DAY_MS = 86_400_000
NO_LABEL = pl.Struct({"source": pl.Int8, "domain": pl.String, "delay_ms": pl.Int64, "weight": pl.Float32})
DRAW_KEYS = {"score": [-col("score"), col("item_id")], "hash": [col("item_id").hash(1) ^ col("request_id").hash(2)]}


def day_of(ts_ms):
    return ts_ms // DAY_MS


def age_bucket(ms):
    # The logarithm of a power of two must not fall below its integer.
    return ((1 + ms // 1000).log(2) + 1e-12).floor().cast(pl.Int32)


def label(source, weight=pl.lit(1.0)):
    return pl.struct(source.cast(pl.Int8).alias("source"), "domain", "delay_ms", weight.cast(pl.Float32).alias("weight"))


def shown(frame, *keys):
    """One row a candidate: `keys` of the request, the item and where it was shown."""
    return (frame.select(*keys, "candidates").explode("candidates")
            .with_columns(item_id=col("candidates").struct.field("item_id"), position=col("candidates").struct.field("position"))
            .drop("candidates"))



def at_least(numerator, denominator, norm, other_norm):
    """Cosine ≥ numerator / denominator, exactly: the numbers are whole and their products far below 2^53."""
    return denominator**2 * col("dot").cast(pl.Float64) ** 2 >= numerator**2 * norm.cast(pl.Float64) * other_norm.cast(pl.Float64)


class Day:
    def __init__(self, store, day, draw):
        self.day, self.draw, self.query_hash = rival_input.day_number(day), draw, rival_input.query_hash(store)
        read = {table: pl.read_parquet(rival_input.files(store, table)) for table in ("requests", "events", "items", "users")}
        self.requests = read["requests"].with_row_index("request_key")
        self.events = read["events"].with_row_index("event_key").drop("position", "value", "quantity")
        self.items, self.users = read["items"].drop("ts_ms"), read["users"].drop("ts_ms")
        self.searches = self.requests.filter(col("domain") == "search").select("request_key", "request_id", "user_id", "ts_ms", "query")

    def locate(self):
        self.label_events = self.events.filter(
            col("action").is_in(["click", "cart", "purchase"]), col("ts_ms") >= self.day * DAY_MS - 259_205_000
        ).with_columns(is_search=col("domain") == "search",
                       window_ms=pl.when(col("action") == "click").then(DAY_MS).otherwise(3 * DAY_MS))
        pairs = self.label_events.lazy().select("user_id", "item_id").unique()
        self.listed = (shown(self.requests.lazy(), "request_key", "domain", pl.col("request_id").alias("listed_id"), "user_id",
                             pl.col("ts_ms").alias("request_ts_ms"))
                       .join(pairs, on=["user_id", "item_id"], how="semi").collect())
        exposed = self.listed.filter(col("position").is_not_null())
        by_id = self.label_events.join(
            exposed.drop("user_id"), left_on=["domain", "request_id", "item_id"], right_on=["domain", "listed_id", "item_id"]
        ).filter(col("ts_ms") >= col("request_ts_ms") - 5000, col("ts_ms") <= col("request_ts_ms") + col("window_ms"))
        by_time = self.label_events.filter(col("request_id").is_null()).join(exposed, on=["domain", "user_id", "item_id"]).filter(
            (col("ts_ms") - col("request_ts_ms")).is_between(0, 1_800_000)
        ).sort("request_ts_ms", descending=True).unique("event_key", keep="first", maintain_order=True)
        columns = ["event_key", "request_key", "request_ts_ms"]
        self.located = self.label_events.join(pl.concat([by_id.select(columns), by_time.select(columns)]), on="event_key").with_columns(
            delay_ms=col("ts_ms") - col("request_ts_ms"))
        self.native = self.located.filter("is_search")
        self.native_clicks = (self.native.filter(col("action") == "click")
                              .join(self.searches.select("request_key", "query"), on="request_key")
                              .join(self.items.select("item_id", "category"), on="item_id", how="left")
                              .filter(col("query") != "")
                              .select(day_of(col("ts_ms")).alias("day"), "query", "item_id", "user_id", "category"))

    def count_grams(self):
        texts = pl.concat([self.searches.select(text="query"), self.items.select(text="title")]).filter(col("text") != "").unique()
        texts = texts.with_row_index("text_key")
        normal = col("text").str.normalize("NFC").str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()
        self.counts = (texts.select("text_key", marked=pl.format("\x01{}\x01", normal))
                       .with_columns(i=pl.int_ranges(0, col("marked").str.len_chars() - 2)).explode("i")
                       .select("text_key", gram=col("marked").str.slice(col("i"), 3).cast(pl.Categorical).to_physical())
                       .group_by("text_key", "gram").agg(pl.len().cast(pl.Int64).alias("count")))
        self.texts = texts.join(self.counts.group_by("text_key").agg(norm2=(col("count") ** 2).sum().cast(pl.Float64)), on="text_key")
        self.item_texts = self.items.select("item_id", "title", "category").join(
            self.texts, left_on="title", right_on="text", how="left").drop("title")

    def dots(self, pairs, left, right):
        """dot of each distinct pair of text keys; pairs that share nothing are left out."""
        return (pairs.select(left, right).unique().lazy()
                .join(self.counts.lazy(), left_on=left, right_on="text_key")
                .join(self.counts.lazy(), left_on=[right, "gram"], right_on=["text_key", "gram"], suffix="_right")
                .group_by(left, right).agg(dot=(col("count") * col("count_right")).sum().cast(pl.Float64)).collect())

    def attribute(self):
        self.foreign = self.label_events.join(self.located.filter("is_search"), on="event_key", how="anti")
        met = (self.foreign.select("event_key", "action", "user_id", "item_id", "ts_ms", "window_ms")
               .join(self.listed.filter(col("domain") == "search"), on=["user_id", "item_id"])
               .filter((col("ts_ms") - col("request_ts_ms")).is_between(0, col("window_ms")))
               .join(self.searches.select("request_key", "request_id", "query"), on="request_key")
               .with_columns(event_day=day_of(col("ts_ms"))))
        natives = self.native.select("request_key", "item_id", native_ts="ts_ms", native_action="action")
        states = met.join(natives, on=["request_key", "item_id"]).filter(col("native_ts") <= col("ts_ms")).group_by(
            "event_key", "request_key").agg(
                positive=((col("action") == "click") | (col("native_action") == col("action"))).any(), clicked=pl.lit(True).first())
        texts = (met.select("query", "item_id").unique()
                 .join(self.texts.select("text", query_key="text_key", query_norm="norm2"), left_on="query", right_on="text")
                 .join(self.item_texts.drop("category"), on="item_id"))
        similar = texts.join(self.dots(texts, "query_key", "text_key"), on=["query_key", "text_key"]).filter(
            at_least(1, 5, col("query_norm"), col("norm2"))).select("query", "item_id", similar=pl.lit(True))
        clicked = (met.select("query", "item_id", "event_day").unique()
                   .join(self.items.select("item_id", "category"), on="item_id", how="left")
                   .join(self.native_clicks.select("query", "day", other="item_id", other_category="category").unique(), on="query")
                   .filter(col("day") < col("event_day"), col("day") >= col("event_day") - 30,
                           (col("item_id") == col("other")) | (col("category") == col("other_category")))
                   .select("query", "item_id", "event_day", co_clicked=pl.lit(True)).unique())
        gated = (met.join(states, on=["event_key", "request_key"], how="left")
                 .join(similar, on=["query", "item_id"], how="left").join(clicked, on=["query", "item_id", "event_day"], how="left")
                 .with_columns(col("positive", "clicked", "similar", "co_clicked").fill_null(False))
                 .with_columns(level=pl.when(col("position").is_null()).then(3).when(~col("clicked")).then(2)
                               .when(col("action") != "click").then(1)))
        chosen = (gated.filter(col("similar") | col("co_clicked"), col("level").is_not_null())
                  .sort(["level", "request_ts_ms", "request_id"], descending=[False, True, False])
                  .unique("event_key", keep="first", maintain_order=True))
        labelled = pl.concat([chosen.filter("positive").select("event_key"),
                              gated.filter("positive").join(chosen, on="event_key", how="anti").select("event_key")]).unique()
        credited = chosen.filter(~col("positive"))
        self.left = self.foreign.join(labelled, on="event_key", how="anti").join(credited, on="event_key", how="anti")
        self.credits = (credited.select("event_key", "request_key", "request_ts_ms", "level").join(self.foreign, on="event_key")
                        .sort("ts_ms", "event_id").unique(["request_key", "item_id", "action"], keep="first", maintain_order=True)
                        .with_columns(delay_ms=col("ts_ms") - col("request_ts_ms")))
        columns = ["request_key", "item_id", "action", "ts_ms", "event_id"]
        labels = pl.concat([
            self.native.select(*columns, label=label(pl.lit(1)), attributed=pl.lit(False)),
            self.credits.select(*columns, label=label(col("level") + 1), attributed=pl.lit(True))])
        self.search_labels = self.by_task(labels.sort("attributed", "ts_ms", "event_id"), "request_key", closure=True)

    @staticmethod
    def by_task(labels, key, closure):
        """The first label of each task; by closure every action sets the click."""
        first = {task: col("label").filter(col("action") == task).first() for task in ("click", "cart", "purchase")}
        if closure:
            first["click"] = col("label").first()
        return labels.group_by(key, "item_id", maintain_order=True).agg(**first)

    def searchify(self):
        clicks = self.located.filter(~col("is_search"), col("action") == "click").join(
            self.left.select("event_key"), on="event_key", how="semi").rename({"request_key": "g_key", "request_ts_ms": "g_ts_ms"})
        conversions = (self.left.filter(col("action") != "click")
                       .join(clicks.select("user_id", "item_id", "g_ts_ms", click_key="event_key", click_id="event_id", click_ts="ts_ms"),
                             on=["user_id", "item_id"])
                       .filter(col("click_ts") <= col("ts_ms"), col("ts_ms") <= col("g_ts_ms") + col("window_ms"))
                       .sort(["click_ts", "click_id"], descending=[True, False])
                       .unique("event_key", keep="first", maintain_order=True)
                       .with_columns(delay_ms=col("ts_ms") - col("g_ts_ms")))
        clicks = clicks.filter(day_of(col("g_ts_ms")) == self.day)
        negatives = self.similar_negatives(clicks)
        kept = self.with_queries(clicks).join(
            negatives.select("g_key", "positive").unique(), left_on=["g_key", "item_id"], right_on=["g_key", "positive"], how="semi")
        kept = kept.join(kept.select("g_key", "query").unique().with_row_index("row", offset=self.requests.height)
                         .with_columns(row_key=col("row").cast(pl.UInt32)).drop("row"), on=["g_key", "query"])
        self.cross_rows = (kept.sort(["tier", "score"], descending=[False, True])
                           .group_by("row_key", "g_key", "query", maintain_order=True).agg(col("tier").first(), col("score").first())
                           .with_columns(weight=self.tier_weight()))
        columns = ["row_key", "item_id", "action", "ts_ms", "event_id"]
        labels = pl.concat([
            kept.select(*columns, label=label(pl.lit(5), self.tier_weight())),
            conversions.join(kept.select("row_key", "tier", click_key="event_key"), on="click_key").select(
                *columns, label=label(pl.lit(5), self.tier_weight()))])
        positives = self.by_task(labels.sort("ts_ms", "event_id"), "row_key", closure=False).with_columns(origin=pl.lit(2))
        none = pl.lit(None, NO_LABEL)
        others = kept.select("row_key", "g_key", positive="item_id").join(negatives, on=["g_key", "positive"]).select(
            "row_key", "item_id").unique().with_columns(click=none, cart=none, purchase=none, origin=pl.lit(3))
        self.cross_items = pl.concat([positives, others])

    @staticmethod
    def tier_weight():
        return col("tier").replace_strict({1: 1.0, 2: 0.8, 3: 0.5}, return_dtype=pl.Float64)

    def similar_negatives(self, clicks):
        lists = (shown(self.requests.lazy().join(clicks.lazy().select("g_key").unique(), left_on="request_key", right_on="g_key", how="semi"),
                       pl.col("request_key").alias("g_key"))
                 .filter(col("position").is_not_null()).drop("position").join(self.item_texts.lazy(), on="item_id").collect())
        bystanders = lists.join(self.located.select(g_key="request_key", item_id="item_id"), on=["g_key", "item_id"], how="anti")
        pairs = (clicks.select("g_key", "item_id").unique().join(lists, on=["g_key", "item_id"]).rename({"item_id": "positive"})
                 .join(bystanders, on="g_key", suffix="_2"))
        titled = col("text_key").is_not_null() & col("text_key_2").is_not_null()
        same = col("category") == col("category_2")
        similarity = pl.when(titled).then((col("dot") ** 2 / (col("norm2") * col("norm2_2"))).fill_null(0.0)).otherwise(same.cast(pl.Float64))
        similar = pl.when(titled).then(at_least(3, 10, col("norm2"), col("norm2_2")).fill_null(False)).otherwise(same)
        day_before = shown(self.requests.lazy().filter(col("domain") == "search", day_of(col("ts_ms")) == self.day - 1), "request_key").filter(
            col("position").is_not_null()).join(
                self.native.lazy().filter(col("ts_ms") < self.day * DAY_MS).select("request_key", "item_id", hit=pl.lit(1)).unique(),
                on=["request_key", "item_id"], how="left").select(exposed=pl.len(), clicked=col("hit").count()).collect().row(0)
        exposed, hits = day_before
        wanted = 10 if exposed == 0 else 20 if hits == 0 else min(20, max(1, int((exposed - hits) / hits + 0.5)))
        return (pairs.join(self.dots(pairs.drop_nulls(["text_key", "text_key_2"]), "text_key", "text_key_2"),
                           on=["text_key", "text_key_2"], how="left")
                .filter(similar).with_columns(similarity=similarity)
                .sort(["similarity", "item_id"], descending=[True, False])
                .group_by("g_key", "positive", maintain_order=True).head(wanted).select("g_key", "positive", "item_id"))

    def with_queries(self, clicks):
        own = (clicks.select("event_key", "user_id", "item_id", "g_ts_ms")
               .join(self.native.select("item_id", "request_key", native_ts="ts_ms"), on="item_id")
               .join(self.searches.select("request_key", "query", "user_id", search_ts="ts_ms"), on=["request_key", "user_id"])
               .filter(col("search_ts") < col("g_ts_ms"), col("search_ts") >= col("g_ts_ms") - 30 * DAY_MS, col("native_ts") < col("g_ts_ms"),
                       col("query") != "")
               .sort(["search_ts", "query"], descending=[True, False]).unique("event_key", keep="first", maintain_order=True)
               .select("event_key", own="query"))
        before = col("day").is_between(self.day - 30, self.day - 1)
        co = (self.native_clicks.filter(before, col("user_id").is_not_null()).group_by("item_id", "query")
              .agg(users=col("user_id").n_unique(), clicks=pl.len()).filter(col("users") >= 2)
              .sort(["users", "clicks", "query"], descending=[True, True, False]).unique("item_id", keep="first", maintain_order=True)
              .select("item_id", "users", co="query"))
        bank = (self.searches.with_columns(day=day_of(col("ts_ms"))).filter(before, col("query") != "").group_by("query").len()
                .filter(col("len") >= 2).join(self.texts.select(query="text", query_key="text_key", query_norm="norm2"), on="query"))
        clicks = clicks.join(own, on="event_key", how="left").join(co, on="item_id", how="left").join(
            self.item_texts.drop("category"), on="item_id", how="left")
        titles = clicks.filter(col("own").is_null(), col("co").is_null()).select("text_key", "norm2").drop_nulls().unique()
        counts = self.counts.lazy().join(bank.lazy().select("query_key"), left_on="text_key", right_on="query_key", how="semi")
        ann = (titles.lazy().join(self.counts.lazy(), on="text_key")
               .join(counts.rename({"text_key": "query_key"}), on="gram", suffix="_right")
               .group_by("text_key", "norm2", "query_key").agg(dot=(col("count") * col("count_right")).sum().cast(pl.Float64))
               .join(bank.lazy(), on="query_key")
               .filter(at_least(7, 20, col("norm2"), col("query_norm")))
               .with_columns(place=col("dot") ** 2 / col("query_norm"), similarity=(col("dot") ** 2 / (col("norm2") * col("query_norm"))).sqrt())
               .sort(["place", "query"], descending=[True, False]).unique("text_key", keep="first", maintain_order=True)
               .select("text_key", "similarity", ann="query").collect())
        tier = pl.when(col("own").is_not_null()).then(1).when(col("co").is_not_null()).then(2).otherwise(3)
        score = pl.when(col("own").is_not_null()).then(1.0).when(col("co").is_not_null()).then(col("users").cast(pl.Float64)).otherwise(
            col("similarity"))
        return (clicks.join(ann, on="text_key", how="left")
                .with_columns(query=pl.coalesce("own", "co", "ann"), tier=tier, score=score).filter(col("query").is_not_null()))

    def sample_lists(self):
        today = self.requests.lazy().filter(col("domain") == "search", day_of(col("ts_ms")) == self.day)
        rows = today.select("request_key", "request_id", "candidates").explode("candidates").unnest("candidates").collect()
        exposed = rows.filter(col("position").is_not_null())
        others = rows.filter(col("position").is_null()).with_row_index("row")
        sizes = exposed.group_by("request_key").agg(k=pl.min_horizontal(100, 2 * pl.len()))
        keys = [key.alias(f"key_{i}") for i, key in enumerate(DRAW_KEYS[self.draw])]
        drawn = (others.select("request_key", "row", *keys).group_by("request_key")
                 .agg(col("row").bottom_k_by([f"key_{i}" for i in range(len(keys))], 100)).join(sizes, on="request_key")
                 .select(col("row").list.head(col("k"))).explode("row"))
        credited = others.select("request_key", "item_id", "row").join(
            self.credits.filter(col("level") == 3).select("request_key", "item_id").unique(), on=["request_key", "item_id"], how="semi")
        chosen = others[pl.concat([drawn["row"], credited["row"]]).unique().sort()].drop("row")
        search = pl.concat([exposed, chosen]).rename({"request_key": "row_key"}).join(
            self.search_labels.rename({"request_key": "row_key"}), on=["row_key", "item_id"], how="left").with_columns(
                origin=col("position").is_null().cast(pl.Int32), zero=pl.lit(1.0))
        lists = self.requests.lazy().join(self.cross_rows.lazy().select("g_key").unique(), left_on="request_key", right_on="g_key", how="semi").select(
            pl.col("request_key").alias("g_key"), "request_id", "candidates").explode("candidates").unnest("candidates")
        cross = (self.cross_items.lazy().join(self.cross_rows.lazy().select("row_key", "g_key", zero="weight"), on="row_key")
                 .join(lists, on=["g_key", "item_id"]).collect().select(search.columns))
        fields = ["item_id", col("origin").cast(pl.Int8), "position"]
        fields += [col(task).is_not_null().alias(task) for task in ("click", "cart", "purchase")]
        for task in ("click", "cart", "purchase"):
            part = col(task).struct
            fields += [part.field("source").fill_null(0).alias(f"{task}_source"), part.field("domain").alias(f"{task}_domain"),
                       part.field("delay_ms").alias(f"{task}_delay_ms"),
                       part.field("weight").fill_null(col("zero").cast(pl.Float32)).alias(f"{task}_weight")]
        fields += [pl.struct("score", "bm25", "popularity").alias("candidate"),
                   pl.struct("title", "category", "brand", "price", "rating").alias("item")]
        return (pl.concat([search, cross.cast(dict(search.schema))]).lazy().join(self.items.lazy(), on="item_id", how="left")
                .sort(["row_key", "origin", "position", "item_id"], nulls_last=True)
                .select("row_key", items=pl.struct(fields)).group_by("row_key", maintain_order=True).agg("items").collect())

    def heads(self):
        columns = ["row_key", "request_id", "domain", "user_id", "ts_ms", "query", "query_tier", "query_score", "context"]
        search = self.requests.filter(col("domain") == "search", day_of(col("ts_ms")) == self.day).with_columns(
            row_key="request_key", query_tier=pl.lit(0, pl.Int8), query_score=pl.lit(None, pl.Float32)).select(columns)
        hashes = self.cross_rows.select("query").unique()
        hashes = hashes.with_columns(hash=pl.Series([self.query_hash(query) for query in hashes["query"]], dtype=pl.String))
        cross = (self.cross_rows.join(hashes, on="query")
                 .join(self.requests.select("request_key", "request_id", "domain", "user_id", "ts_ms", "context"), left_on="g_key", right_on="request_key")
                 .with_columns(request_id=pl.format("x:{}:{}:{}", "domain", "request_id", "hash"), query_tier=col("tier").cast(pl.Int8),
                               query_score=col("score").cast(pl.Float32)).select(columns))
        return pl.concat([search, cross])

    def histories(self, heads):
        moments = heads.lazy().select("user_id", "ts_ms").filter(col("user_id").is_not_null()).unique()
        action = pl.struct("item_id", "action", "domain", age_bucket(col("ts_ms") - col("event_ts")).alias("age_bucket"))
        window = col("event_ts").is_between(col("ts_ms") - 90 * DAY_MS, col("ts_ms"), closed="left")
        actions = (moments.join(self.events.lazy().select("user_id", "event_id", "item_id", "action", "domain", "known_ms", event_ts="ts_ms"), on="user_id")
                   .filter(window, col("known_ms") < col("ts_ms")).sort("event_ts", "event_id").with_columns(entry=action)
                   .group_by("user_id", "ts_ms", maintain_order=True)
                   .agg(history_clicks=col("entry").filter(col("action") == "click").tail(50),
                        history_buys=col("entry").filter(col("action").is_in(["cart", "purchase"])).tail(50)).collect())
        queries = (moments.join(self.searches.lazy().select("user_id", "request_id", "query", event_ts="ts_ms"), on="user_id")
                   .filter(window, col("query") != "").sort("event_ts", "request_id")
                   .group_by("user_id", "ts_ms", maintain_order=True)
                   .agg(query_history=pl.struct("query", age_bucket(col("ts_ms") - col("event_ts")).alias("age_bucket")).tail(10)).collect())
        return actions, queries

    def write(self, out):
        heads, lists = self.heads(), self.sample_lists()
        actions, queries = self.histories(heads)
        names = ["history_clicks", "history_buys", "query_history", "items"]
        # Sorted before the wide columns come in, so that they are gathered once.
        (heads.sort("ts_ms", "request_id", "user_id")
         .join(actions, on=["user_id", "ts_ms"], how="left", maintain_order="left")
         .join(queries, on=["user_id", "ts_ms"], how="left", maintain_order="left")
         .join(self.users.select("user_id", user=pl.struct("age_group", "segment")), on="user_id", how="left", maintain_order="left")
         .join(lists, on="row_key", how="left", maintain_order="left")
         .with_columns(col(name).fill_null([]) for name in names)
         .select("request_id", "domain", "user_id", "ts_ms", "query", "query_tier", "query_score", "context", "user", *names)
         .write_parquet(out, compression="zstd", compression_level=1, row_group_size=8192))


def main():
    store, day, out, _, draw = sys.argv[1:]
    samples = Day(store, day, draw)
    samples.locate()
    samples.count_grams()
    samples.attribute()
    samples.searchify()
    samples.write(out)


if __name__ == "__main__":
    main()
