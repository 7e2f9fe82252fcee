-- GA360 sessions of the Google Merchandise Store (tables `impressions`, `actions`, `promotions`, `products`, `sessions`, made by
-- prepare.py, all text) as raw tables for `uniscale ingest`.
-- A list = (visitor, visit, hit, surface). Every impression is an exposed candidate; nothing unexposed is logged.

create temp table lists as
select
  visitor, visit_id, cast(hit as integer) as hit, cast(ts_ms as bigint) as ts_ms, page_path,
  case surface when 'Search Results' then 'results' when 'Category' then 'category' else 'related' end as domain,
  cast(position as integer) as position, sku as item_id, cast(price_micros as double) / 1e6 as price
from impressions;

-- Promotions are in-page banners: lists of their own, of items of their own.
create temp table banners as
select
  visitor, visit_id, cast(hit as integer) as hit, cast(ts_ms as bigint) as ts_ms, 'ads' as domain,
  cast(row_number() over (partition by visitor, visit_id, hit order by promo_position, promo_id) as integer) as position,
  'promo:' || promo_id as item_id
from promotions
where kind = 'view';

-- The shop's own query text is stripped from the log. A category list has one text: the name of its category, from the path.
-- "/google+redesign/apparel/men++s/men++s+t+shirts" → "men's t shirts"
create temp table category_names as
select
  page_path,
  regexp_replace(regexp_replace(regexp_extract(rtrim(replace(page_path, '/home', ''), '/'), '[^/]*$'), '\+\+?s(\+|$)', '''s\1', 'g'),
          '\++', ' ', 'g') as name
from (select distinct page_path from lists where domain = 'category' and page_path like '/google+redesign/%');

-- Carts and purchases name variants (a size, a colour); lists show one article for all. A variant that no list shows stands for the
-- listed article of the same name, if there is one.
create temp table listed as
select product_name, min(sku) as listed_sku
from products
where sku in (select sku from impressions)
group by product_name;

create temp table acted as
select
  actions.visitor || ':' || visit_id as session_id, visitor, cast(hit as integer) as hit, cast(ts_ms as bigint) as ts_ms,
  action, list_name,
  case when sku in (select sku from impressions) then sku else coalesce(listed_sku, sku) end as item_id,
  cast(quantity as integer) as quantity,
  row_number() over (partition by actions.visitor, visit_id, hit order by action, sku, variant) as line
from actions
left join listed using (product_name);

-- A click names the kind of its list but not the list: request_id stays null, and uniscale finds the latest list of that domain in which
-- the visitor was shown the item. What is neither click, cart nor purchase keeps its name, labels nothing and feeds histories.
create table events as
select
  format('{}:{}:{}', session_id, hit, line) as event_id,
  case
    when action in ('add_to_cart', 'remove_from_cart') then 'cart'
    when action in ('checkout', 'purchase') then 'checkout'
    when list_name = 'Search Results' then 'results'
    when list_name = 'Category' then 'category'
    else 'unnamed'
  end as domain,
  case action when 'add_to_cart' then 'cart' else action end as action,
  visitor as user_id, item_id, ts_ms, quantity
from acted
union all
select
  format('{}:{}:{}:{}', visitor, visit_id, hit, row_number() over (partition by visitor, visit_id, hit order by promo_id)),
  'ads', 'click', visitor, 'promo:' || promo_id, cast(ts_ms as bigint), null
from promotions
where kind = 'click'
order by ts_ms, event_id;

-- Clicks of an item by anybody, strictly before a list was shown.
create temp table clicks_upto as
select item_id, ts_ms, count(*) over (partition by item_id order by ts_ms range unbounded preceding) as clicks
from events
where action = 'click';

create temp table candidates as
select
  shown.*,
  cast(rank() over (partition by visitor, visit_id, hit, domain order by price) as bigint) as price_rank,
  coalesce(clicks_upto.clicks, 0) as clicks_before
from (select visitor, visit_id, hit, ts_ms, page_path, domain, position, item_id, price from lists
      union all
      select visitor, visit_id, hit, ts_ms, null, domain, position, item_id, null from banners) as shown
asof left join clicks_upto on shown.item_id = clicks_upto.item_id and shown.ts_ms > clicks_upto.ts_ms;

create table requests as
select
  format('{}:{}:{}:{}', visitor, visit_id, hit, domain) as request_id, domain, visitor as user_id, any_value(candidates.ts_ms) as ts_ms,
  any_value(category_names.name) as query, any_value(sessions.device) as device, any_value(sessions.channel) as channel,
  list({'item_id': item_id, 'position': position, 'price': price, 'price_rank': price_rank, 'clicks_before': clicks_before}
       order by position) as candidates
from candidates
left join category_names using (page_path)
left join sessions using (visitor, visit_id)
group by visitor, visit_id, hit, domain
order by ts_ms, request_id;

-- Titles and categories of the shop's articles. A category is known as the paths of lists that showed the article; taken is the first.
create table items as
select
  sku as item_id, product_name as title,
  case when categories like 'Home/%' then trim(replace(split_part(categories, '|', 1), 'Home/', ''), '/') end as category
from products
union all
select distinct 'promo:' || promo_id, promo_name, 'promotion' from promotions
order by item_id;
