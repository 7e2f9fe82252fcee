-- The trivago log rows (view `rows_read`, made by prepare.py) as raw tables for `uniscale ingest`, and three score files.
-- A list is a search request if it has a clickout: the data hold no other lists. One clickout is one request.
-- `cut` (view, made by prepare.py): evaluation_ms, the first millisecond of the day that is evaluated.

-- The log has whole seconds. The order of the steps is kept in the milliseconds, so that "before" means before.
create temp table steps as
with numbered as (
  select *, row_number() over (partition by session_id order by step, timestamp, action_type, reference) as place
  from (select distinct * from rows_read)
)
select
  user_id, session_id, place, action_type, reference, platform, city, device, current_filters,
  format('{}-{}', session_id, place) as row_id,
  timestamp * 1000
    + least(row_number() over (partition by session_id, timestamp order by place) - 1, 999) as ts_ms,
  string_split(impressions, '|') as items,
  list_transform(string_split(prices, '|'), lambda price: cast(price as double)) as prices
from numbered;

-- When was the list shown? Nothing logs it; the clickout comes later, after a look at pictures of hotels of this very list.
-- Taken is the earliest moment that the log allows: right after the last step that changes a list (a search, a filter, another
-- sort order, a clickout of another list), or the first row of the session. So neither a feature nor a history sees
-- what the user did with the list that is ranked.
create temp table clickouts as
with context as (
  select
    *,
    max(case when action_type like 'search for %' or action_type in ('filter selection', 'change of sort order')
             then ts_ms end) over before as change_ms,
    last_value(case when action_type in ('search for destination', 'search for poi') then reference end ignore nulls)
      over before as searched,
    min(ts_ms) over (partition by session_id) as session_ms
  from steps
  window before as (partition by session_id order by place rows between unbounded preceding and 1 preceding)
), lists as (
  select
    *,
    lag(ts_ms) over session as last_click_ms,
    items is distinct from lag(items) over session as is_new_list
  from context
  where action_type = 'clickout item'
  window session as (partition by session_id order by place)
), runs as (
  select
    *,
    max(case when is_new_list then last_click_ms end)
      over (partition by session_id order by place rows unbounded preceding) as other_list_ms
  from lists
)
select
  row_id as request_id, user_id, ts_ms as click_ms, reference as clicked, items, prices,
  least(ts_ms, greatest(session_ms, coalesce(change_ms + 1, 0), coalesce(other_list_ms + 1, 0))) as shown_ms,
  coalesce(searched, city) as query, city, platform, device, coalesce(current_filters, '') as filters
from runs;

-- A clickout (the redirect to a booking site) is a click of the search domain. What a user does on the page of a hotel, and
-- the search for a hotel by name, keep names and domains of their own: they label nothing, and feed the histories.
create table events as
select row_id as event_id, 'search' as domain, 'click' as action, user_id, reference as item_id, ts_ms, row_id as request_id
from steps
where action_type = 'clickout item'
union all
select row_id, 'item_page', replace(action_type, 'interaction item ', ''), user_id, reference, ts_ms, null
from steps
where action_type like 'interaction item %' and regexp_full_match(reference, '[0-9]+')
union all
select row_id, 'item_search', 'search', user_id, reference, ts_ms, null
from steps
where action_type = 'search for item' and regexp_full_match(reference, '[0-9]+')
order by ts_ms, event_id;

create temp table shown as
select
  request_id, user_id, shown_ms, clicked,
  unnest(items) as item_id, unnest(prices) as price, generate_subscripts(items, 1) as position,
  list_median(prices) as median_price
from clickouts;

-- Counts of what was known when the list was shown: strictly before it, on any day.
create temp table item_counts as
select
  item_id, ts_ms,
  count(*) filter (domain = 'search') over upto as clicks,
  count(*) filter (domain = 'item_page') over upto as views
from events
window upto as (partition by item_id order by ts_ms range between unbounded preceding and current row);

create temp table candidates as
with counted as (
  select shown.*, coalesce(item_counts.clicks, 0) as clicks_before, coalesce(item_counts.views, 0) as views_before
  from shown
  asof left join item_counts on shown.item_id = item_counts.item_id and shown.shown_ms > item_counts.ts_ms
), own as (
  select
    shown.request_id, shown.item_id,
    count(*) filter (events.domain = 'search') as clicks,
    count(*) filter (events.domain = 'item_page') as views,
    count(*) filter (events.domain = 'item_search') as searches
  from shown
  join events on events.user_id = shown.user_id and events.item_id = shown.item_id and events.ts_ms < shown.shown_ms
  group by all
)
select
  counted.request_id, counted.user_id, counted.shown_ms, counted.item_id, counted.position, counted.price,
  counted.item_id = counted.clicked as is_clicked,
  counted.price / nullif(counted.median_price, 0) as price_ratio,
  rank() over (partition by counted.request_id order by counted.price) as price_rank,
  counted.clicks_before, counted.views_before,
  coalesce(own.clicks, 0) as own_clicks_before,
  coalesce(own.views, 0) as own_views_before,
  coalesce(own.searches, 0) as own_searches_before
from counted
left join own using (request_id, item_id);

create table requests as
select
  request_id, 'search' as domain, user_id, shown_ms as ts_ms, query, city, platform, device, filters, lists.candidates
from clickouts
join (
  select
    request_id,
    list({
      'item_id': item_id, 'position': position, 'price': price, 'price_ratio': price_ratio, 'price_rank': price_rank,
      'clicks_before': clicks_before, 'views_before': views_before, 'own_clicks_before': own_clicks_before,
      'own_views_before': own_views_before, 'own_searches_before': own_searches_before
    } order by position) as candidates
  from candidates
  group by request_id
) as lists using (request_id)
order by ts_ms, request_id;

-- Baselines on the rows that the model is evaluated on: every shown item of the lists of the day.
create temp table evaluated as
select candidates.*, cast(is_clicked as integer) as label
from candidates, cut
where shown_ms >= evaluation_ms;

create table shown_order as
select user_id, request_id, label, -cast(position as double) as score
from evaluated order by request_id, position;

create table cheapest as
select user_id, request_id, label, -price as score
from evaluated order by request_id, position;

-- Clicks of the days before, and nothing of the day itself.
create table popularity as
with clicks as (
  select item_id, count(*) as num_clicks
  from events, cut
  where domain = 'search' and ts_ms < evaluation_ms
  group by item_id
)
select user_id, request_id, label, cast(coalesce(num_clicks, 0) as double) as score
from evaluated left join clicks using (item_id)
order by request_id, position;
