"""Addresses of the site; the dashboard is not among them, but beside Django in `shop.asgi`."""

from django.contrib import admin
from django.urls import path

from shop import views

urlpatterns = [
    path('', views.show, name='show'),
    path('orders', views.place, name='place'),
    path('admin/', admin.site.urls),
]
